"""The commands of `jiesuan`, one file each; what they share is how they end."""

from __future__ import annotations

DONE, REFUSED, WRONG_USAGE, TRY_LATER = 0, 1, 2, 75


class Stop(Exception):
    """The command ends here: one sentence for the person at the terminal, and an exit code."""

    def __init__(self, words: str, code: int = REFUSED) -> None:
        self.code = code
        super().__init__(words)
