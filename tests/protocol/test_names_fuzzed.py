"""Names of every shape against a class full of traps: only approved pairs get past the catalogue, or run."""

from __future__ import annotations

import itertools
import random
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bgjob.errors import InvalidNameError, MethodNotApprovedError, NotApprovedError
from bgjobd.api.submissions import check_names
from bgjobd.config.loading import load
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.forkserver.describe import describe
from tests.forkserver.driven import DrivenServer, fork_server, order

PAIRS = 200 * settings().max_examples
MAX_NAME = 255
CLASS = "traps.Trap"
APPROVED = {(CLASS, "run"), (CLASS, "send"), (CLASS, "inherited")}

pytestmark = pytest.mark.timeout(60 + PAIRS // 2000)

TRAPS = '''
"""A class whose every name but three springs a trap: it leaves a mark in a file beside this one."""

import os
from pathlib import Path

TRIPWIRE = Path(__file__).with_name("sprung")


def spring(*names):
    with TRIPWIRE.open("a") as book:
        book.write(f"{names}\\n")


def beside(self=None):
    spring("a function of the module")


class Strange:
    def run(self):
        spring("a class that is not approved")


class Mark:
    def __call__(self, *args, **parameters):
        spring("a callable attribute")


class Lazy:
    def __get__(self, instance, owner):
        spring("a descriptor")
        return beside


class Meta(type):
    def of_meta(cls):
        spring("a method of the metaclass")


class Base:
    def inherited(self):
        return "ran"

    def _hidden_in_base(self):
        spring("a private method of a base")


class Trap(Base, metaclass=Meta):
    def run(self):
        return "ran"

    def send(self):
        return "ran"

    @property
    def computed(self):
        spring("a property")

    @staticmethod
    def static():
        spring("a static method")

    @classmethod
    def of_class(cls):
        spring("a class method")

    class Nested:
        def __init__(self, *args, **parameters):
            spring("a nested class")

        def run(self):
            spring("a method of a nested class")

    borrowed = os.system
    assigned = beside
    strange = Strange.run
    function = lambda self=None: spring("a lambda")
    marked = Mark()
    lazy = Lazy()

    def _private(self):
        spring("a private method")

    def __mangled(self):
        spring("a mangled method")

    def __call__(self, *args):
        spring("__call__")

    def __getattr__(self, name):
        spring("__getattr__", name)
        return beside

    def __getitem__(self, name):
        spring("__getitem__", name)

    def __reduce_ex__(self, protocol):
        spring("__reduce_ex__")

    def __dir__(self):
        spring("__dir__")
        return []

    def __init_subclass__(cls, **more):
        spring("__init_subclass__")
'''

TRAP_NAMES = [
    *("computed", "static", "of_class", "of_meta", "Nested", "Nested.run", "borrowed", "assigned", "strange"),
    *("function", "marked", "lazy", "_private", "_hidden_in_base", "__mangled", "_Trap__mangled", "beside"),
    *("__call__", "__getattr__", "__getitem__", "__reduce_ex__", "__dir__", "__init_subclass__", "__init__"),
    *("__class__", "__dict__", "__globals__", "__subclasses__", "__bases__", "__mro__", "mro", "__new__"),
    *("__getattribute__", "__setattr__", "__del__", "__enter__", "__code__", "__wrapped__", "__func__"),
    *("run.__call__", "run.__globals__", "run.__self__.static", "__class__.static", "__init__.__globals__"),
]
CLASS_NAMES = [
    *("os.system", "os", "builtins.eval", "builtins.exec", "subprocess.run", "subprocess.Popen", "traps"),
    *("traps.Strange", "traps.Base", "traps.Meta", "traps.Mark", "traps.beside", "traps.os.system"),
    *("traps.Trap.Nested", "traps.Trap.run", "traps.Trap.__class__", "traps.Trap.__init__.__globals__"),
    *("traps.Trap().run", "traps:Trap", "traps/Trap", "../traps.Trap", "..traps.Trap", "/etc/passwd"),
    *("file:///etc/passwd", "__main__.Trap", "__import__('os').system", "Trap", "bgjobd.daemon.loop.Daemon"),
]
PIECES = [
    *(
        "",
        ".",
        "..",
        "/",
        "../",
        "\\",
        "::",
        ":",
        "-",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\0",
        "\x1b[2J",
        "\x7f",
        "\x85",
    ),
    *("\u200b", "\u200d", "\u2028", "\u202e", "\ufeff", "\u00ad", "\u0301", "\ufe0f", "\ud800", "\U000e0001"),
    *(
        "()",
        "[0]",
        "%s",
        "{0.__class__}",
        "$(id)",
        "`id`",
        "';--",
        '"',
        "*",
        "@",
        "0",
        "9",
        "_",
        "__",
        "a",
        "A",
    ),
    *("é", "ſ", "İ", "ı", "K", "𝐫𝐮𝐧", "run", "ｒｕｎ", "Trap", "Ｔｒａｐ", "traps", "x" * MAX_NAME),
]
LOOK_ALIKES = str.maketrans("aceinoprstuTP", "асеіոорг\u0455т\u057dТР")
FORMS: list[Callable[[str], str]] = [
    str.upper,
    str.lower,
    str.swapcase,
    str.title,
    lambda name: name[::-1],
    lambda name: name * 2,
    lambda name: name.translate(LOOK_ALIKES),
    lambda name: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name),  # full-width
    lambda name: "".join(chr(ord(c) - 97 + 0x1D41A) if "a" <= c <= "z" else c for c in name),  # mathematical
    lambda name: unicodedata.normalize("NFD", name.replace("a", "á")),
    lambda name: name.replace("s", "ſ"),
    lambda name: name.replace(".", "\uff0e"),
    lambda name: name.replace(".", "\u2024"),
    lambda name: name.replace(".", "/"),
    lambda name: name.encode("utf-16-le").decode("latin-1"),
]

pieces = (
    st.sampled_from(PIECES)
    | st.text(max_size=3)
    | st.text(st.characters(categories=["Cs", "Cc"]), max_size=2)
)
identifiers = st.text("abdehinrstuN_09", min_size=1, max_size=12)
seeds = st.one_of(
    st.sampled_from(["run", "send", "inherited", CLASS, *TRAP_NAMES, *CLASS_NAMES]),
    identifiers,
    st.lists(identifiers, min_size=2, max_size=4).map(".".join),
    st.text(max_size=12),
)
seed_lists = st.lists(seeds, min_size=3, max_size=6)
piece_lists = st.lists(pieces, min_size=2, max_size=6)
characters = st.characters() | st.sampled_from("_.rTſｒ\0\n\ud800")


def changed(name: str, character: str) -> Iterator[str]:
    """The name with one character changed, put in, or left out, at every place."""
    for place in range(len(name) + 1):
        yield name[:place] + character + name[place:]
        yield name[:place] + character + name[place + 1 :]
        yield name[:place] + name[place + 1 :]


def variants(seeds: Iterable[str], fronts: list[str], backs: list[str], character: str) -> Iterator[str]:
    """Each seed between each two pieces, in each form, and with one character changed."""
    for seed in seeds:
        for front, back in itertools.product(fronts, backs):
            yield f"{front}{seed}{back}"
        for form in FORMS:
            yield form(seed)
        yield from changed(seed, character)
        yield from (unicodedata.normalize("NFKC", f"{front}{seed}") for front in fronts)


def pairs_of(names: list[str]) -> Iterator[tuple[str, str]]:
    """Each name as a method of the approved class, as a class with an approved method, and with its neighbour."""
    for name, neighbour in zip(names, [*names[1:], ""], strict=True):
        yield CLASS, name
        yield name, "run"
        yield name, neighbour


# The traps themselves


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The traps as an imported module; its `TRIPWIRE` is the file that must not appear."""
    folder = tmp_path_factory.mktemp("traps")
    (folder / "traps.py").write_text(TRAPS)
    module = ModuleType("traps")
    module.__file__ = str(folder / "traps.py")
    sys.modules["traps"] = module
    exec(compile(TRAPS, module.__file__, "exec"), vars(module))
    yield module
    del sys.modules["traps"]


@pytest.mark.parametrize("name", ["static", "of_class", "assigned", "marked", "_private", "nothing_at_all"])
def test_a_trap_that_is_reached_by_getattr_springs(traps: ModuleType, name: str) -> None:
    getattr(traps.Trap(), name)()
    assert traps.TRIPWIRE.read_text() != ""
    traps.TRIPWIRE.unlink()


def test_the_catalogue_holds_the_three_methods_and_springs_no_trap(traps: ModuleType) -> None:
    assert {(CLASS, name) for name in describe(traps.Trap, None)["methods"]} == APPROVED
    assert not traps.TRIPWIRE.exists()


def test_a_list_of_methods_lets_no_trap_in(traps: ModuleType) -> None:
    assert describe(traps.Trap, TRAP_NAMES)["methods"] == {}
    assert not traps.TRIPWIRE.exists()


# The catalogue: the two names together are a key, or the call is refused


def refusal(catalogue: Catalogue, class_name: str, method_name: str) -> type[Exception] | None:
    try:
        check_names(class_name, method_name, MAX_NAME)
        catalogue.check(class_name, method_name, {})
    except (InvalidNameError, NotApprovedError, MethodNotApprovedError) as error:
        return type(error)
    return None


def test_only_the_approved_pairs_pass_whatever_the_names(traps: ModuleType) -> None:
    config = traps.TRIPWIRE.with_name("bgjobd.toml")
    config.write_text(f'[approved]\n"{CLASS}" = {{}}\n')
    described = {CLASS: describe(traps.Trap, None)}
    catalogue = Catalogue(load(config, {"HOME": "/home/alice"}, is_root=False), described, "")
    tried = set[int]()  # hashes: the names of a long run need not be kept
    answers = Counter[type[Exception] | None]()

    @settings(
        max_examples=PAIRS // 20,  # each brings more new pairs than that
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(seed_lists, piece_lists, piece_lists, characters)
    def try_names(seeds: list[str], fronts: list[str], backs: list[str], character: str) -> None:
        if len(tried) >= PAIRS:
            return
        for pair in pairs_of(list(variants(seeds, fronts, backs, character))):
            if hash(pair) not in tried:
                answer = refusal(catalogue, *pair)
                assert (answer is None) == (pair in APPROVED), pair
                answers[answer] += 1
                tried.add(hash(pair))

    try_names()
    assert len(tried) >= PAIRS
    assert set(answers) == {None, InvalidNameError, NotApprovedError, MethodNotApprovedError}
    refusals = [count for answer, count in answers.items() if answer is not None]
    assert min(refusals) > PAIRS // 200, f"some refusal is hardly ever met: {answers}"
    assert not traps.TRIPWIRE.exists()


@pytest.mark.parametrize(
    "name", ["", "x" * (MAX_NAME + 1), "run\n", "\nrun", "ｒｕｎ", "run.run", "run\u0301"]
)
def test_a_name_that_could_not_name_anything_is_told_back_cut_to_the_limit(name: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_names(CLASS, name, MAX_NAME)
    assert caught.value.parameters == {"field": "method_name", "value": name[:MAX_NAME]}


# The child: an order with such names, straight over the link, where nobody has checked them


def hostile_orders(count: int) -> list[tuple[str, str]]:
    luck = random.Random("orders")
    names = [*TRAP_NAMES, *CLASS_NAMES, "traps.Trap", "nothing_at_all", "", "run ", "run\0"]
    for seed in ("run", CLASS):
        names += variants([seed], luck.sample(PIECES, 3), luck.sample(PIECES, 3), luck.choice("_.x\n\ud800"))
    certain = [(CLASS, name) for name in TRAP_NAMES] + [(name, "run") for name in CLASS_NAMES]
    others = [pair for pair in pairs_of(names) if pair not in APPROVED and pair not in certain]
    return certain + luck.sample(others, count - len(certain))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrivenServer]:
    folder = tmp_path_factory.mktemp("driven")
    (folder / "traps.py").write_text(TRAPS)
    with fork_server(folder, approved={CLASS: None}) as server:
        yield server


def outcome(server: DrivenServer, job: int, class_name: str, method_name: str) -> dict[str, Any]:
    """What the journal says of an attempt with these names."""
    server.send({**order(job, method_name), "class_name": class_name})
    ended = server.receive()
    assert (ended["type"], ended["job"]) == ("ended", job)
    journal = server.journal(job)
    assert journal is not None
    assert journal.outcome is not None
    return journal.outcome


def tripwire(server: DrivenServer) -> Path:
    return server.spool.parent / "sprung"


def test_an_order_with_any_other_name_fails_in_its_child_and_springs_no_trap(server: DrivenServer) -> None:
    ordered = hostile_orders(200)
    assert len(set(ordered)) > 175
    for job, pair in enumerate(ordered, start=1):
        told = outcome(server, job, *pair)
        assert (told["outcome"], told["error_type"], told["may_retry"]) == (
            "failed",
            "MethodNotApproved",
            False,
        ), pair
        assert told["error_message"].endswith("is no longer allowed"), pair
    assert not tripwire(server).exists()


@pytest.mark.parametrize(("job", "method_name"), [(1001, "run"), (1002, "send"), (1003, "inherited")])
def test_an_order_with_an_approved_name_runs(server: DrivenServer, job: int, method_name: str) -> None:
    told = outcome(server, job, CLASS, method_name)
    assert (told["outcome"], told["result"]) == ("completed", "ran")
    assert not tripwire(server).exists()
