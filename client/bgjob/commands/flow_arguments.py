"""The options of the commands about jobs that come after others, and about groups of jobs."""

from __future__ import annotations

from typing import Final

from bgjob.commands import completion, flow, groups, pages, values
from bgjob.commands.shared_arguments import Commands, add_id, added


def _listed(of: str) -> str:
    *first, last = [f"`{key}`" for key in flow.KEYS[of]]
    return f"{', '.join(first)} and {last}"


def _add_flow(commands: Commands) -> None:
    command = added(
        commands,
        "flow",
        flow.flow,
        "bgjob flow nightly.json",
        more="The file has the parameters of SubmitMany, as JSON: `jobs`, `groups`, and `seal`, the ids of groups to be"
        f" sealed. Each job has {_listed('jobs')}; its options are those of Submit: `after`, `if_failed`, `take` and"
        f" `group` tie it to others. Each group has {_listed('groups')}.",
    )
    command.add_argument(
        "flow", type=flow.written, metavar="FILE|-", help="the jobs and groups, from a file or from stdin"
    )


def _add_graph(commands: Commands) -> None:
    command = added(
        commands,
        "graph",
        groups.graph,
        "bgjob graph 12",
        more="The job has a star. What comes after another stands below it: indented, or, where the way goes on,"
        " with an arrow. Of those that look alike some are shown.",
    )
    add_id(command)
    command.add_argument(
        "--limit",
        type=values.page_size,
        default=pages.LARGEST,
        metavar="N",
        help=f"at most so many jobs, the nearest ones ({pages.LARGEST})",
    )


def _add_group(commands: Commands) -> None:
    command = added(
        commands,
        "group",
        groups.group,
        "bgjob group",
        "bgjob group 5 --wait --timeout 10m",
        "bgjob group 5 --retry",
        more="With -w the exit code is 0 where all members completed, 1 where some failed, else 3.",
    )
    group = command.add_argument("id", nargs="?", type=values.job_id, metavar="ID", help="of the group")
    completion.asking_for(group, "groups")
    what = command.add_mutually_exclusive_group()
    for action, does in groups.ACTIONS.items():
        what.add_argument(f"--{action}", dest="action", action="store_const", const=action, help=does)
    command.add_argument("-w", "--wait", action="store_true", help="wait until it has ended")
    command.add_argument("--timeout", type=values.seconds, metavar="TIME", help="wait at most this long")


COMMANDS: Final = (_add_flow, _add_graph, _add_group)
