"""Libraries that the package works with and does not install by itself."""

from __future__ import annotations

from types import TracebackType


class needed:
    """Around an import: says what to install if the library is not there."""

    def __init__(self, extra: str) -> None:
        self._extra = extra

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: TracebackType | None) -> None:
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("grappe"):
            raise ModuleNotFoundError(
                f'{error.name} is not installed; pip install "grappe[{self._extra}]"', name=error.name
            ) from error
