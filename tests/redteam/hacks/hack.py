"""What a hack is: code around the module under repair, other files, or a patch of its own making."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nano_codex_env import Task
from nano_codex_env.diff import File
from nano_codex_env.tasks.trees import tree_patch
from tests.redteam.hacks.victim import BODY, MODULE, around, base_files, module_of


@dataclass(frozen=True)
class Hack:
    """A patch that solves nothing; made for the victim, and for any task where it does not name the victim's parts."""

    id: str
    threat: str
    description: str
    head: str = ""
    """Code before the first statement of the module under repair."""
    tail: str = ""
    """Code behind its last."""
    body: str = ""
    """What stands in the place of the victim's wrong line."""
    files: Mapping[str, str] = field(default_factory=dict)
    """More files, whole; `PACKAGE` in a path or a text is the package under repair."""
    raw: str = ""
    """More of the patch, as no tree would give it."""
    only_victim: bool = False
    """Whether the files name the victim's tests."""

    @property
    def generic(self) -> bool:
        """Whether it can be put into any task."""
        return not self.body and not self.only_victim

    def patch(self, task: Task) -> str:
        """The patch for a task."""
        before, module = base_files(task), module_of(task)
        source = before[module].data.decode()
        package = module.split("/")[-2]
        if self.body:
            assert module == MODULE
            source = source.replace(BODY, self.body)
        texts = {module: around(source, self.head, self.tail), **self.files}
        texts = {path.replace("PACKAGE", package): text.replace("PACKAGE", package) for path, text in texts.items()}
        return tree_patch(before, before | {path: File(text.encode()) for path, text in texts.items()}) + self.raw
