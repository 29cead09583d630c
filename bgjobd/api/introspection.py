"""What the socket tells of itself: the service, its interfaces, and the text of each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bgjob import __version__
from bgjob.codec import JsonObject
from bgjob.errors import InterfaceNotFoundError
from bgjob.words import INTERFACE, SERVICE
from bgjobd.api.peer import Caller
from bgjobd.api.schemas import Interface, Nothing, checked

IDL: Final = Path(__file__).parents[1] / f"{INTERFACE}.varlink"
DESCRIPTIONS: Final = {
    INTERFACE: IDL.read_text(encoding="utf-8"),
    SERVICE: """# What every Varlink service tells of itself.
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
""",
}


async def info(parameters: JsonObject, caller: Caller) -> JsonObject:
    checked(Nothing, parameters)
    return {
        "vendor": "bgjobd",
        "product": "bgjobd",
        "version": __version__,
        "url": "",
        "interfaces": [SERVICE, INTERFACE],
    }


async def description(parameters: JsonObject, caller: Caller) -> JsonObject:
    given = checked(Interface, parameters)
    description = DESCRIPTIONS.get(given.interface)
    if description is None:
        raise InterfaceNotFoundError(interface=given.interface)
    return {"description": description}
