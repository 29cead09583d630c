"""The settings under which Django's own tests run, there and in the daemon's fork server."""

from __future__ import annotations

import importlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bgjob import Client

_MODULE = os.environ["BACKEND_MODULE"]
_IS_ATTEMPT = "BGJOB_MARK" in os.environ

Backend: Any = importlib.import_module(_MODULE).Backend


class Kept(Backend):
    """Django's tests clear the Dummy backend's results before each of them."""

    def clear(self) -> None:
        """There is nothing."""


class Waiting(Backend):
    """Waits for the end of each task, for the Immediate backend runs it at once; logs what the attempt has logged."""

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        result = super().enqueue(task, args, kwargs)
        while not result.is_finished:
            time.sleep(0.005)
            result.refresh()
        client = Client(self.options["address"])
        for line in client.output(client.get(key=result.id).id).decode().splitlines():
            if line.startswith("{"):
                logged = json.loads(line)
                logging.getLogger(logged["name"]).log(logged["level"], "%s", logged["message"])
        return result

    async def aenqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.enqueue(task, args, kwargs)


class Printed(logging.Handler):
    """Prints what is logged in an attempt, so that it can be told where the task was enqueued."""

    def emit(self, record: logging.LogRecord) -> None:
        print(json.dumps({"name": record.name, "level": record.levelno, "message": self.format(record)}))


_LOGGER = "django.tasks" if _MODULE == "bgjob.django" else "django_tasks"
SECRET_KEY = "of tests"
USE_TZ = True
INSTALLED_APPS = ["tasks"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
TASKS = {"default": {"BACKEND": f"{_MODULE}.Backend", "QUEUES": []}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"printed": {"class": "djangos_settings.Printed"}},
    "loggers": {_LOGGER: {"level": "DEBUG", "handlers": ["printed"] if _IS_ATTEMPT else []}},
}
