from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

class Folded:
    @property
    def data(self) -> bytes: ...
    def source(self, position: int, /) -> int: ...

class Reader:
    def __new__(
        cls,
        *,
        tables: Mapping[str, Sequence[int]],
        words: bytes,
        special: bytes,
        look: Callable[[int], int],
        spell: Callable[[int], bytes],
        entries: list[Any],
        ids: list[str],
        first_action: int,
        first_mask: int,
        languages: list[str],
        zones: list[str],
        reasons: list[Any],
        endings: frozenset[bytes],
        make_hit: type,
        make_dropped: type,
    ) -> Reader: ...
    def fold(self, text: str, /) -> Folded: ...
    def read(self, text: str, /) -> tuple[Any, list[Any], list[Any], int] | None: ...

class Model:
    def __new__(
        cls,
        names: bytes,
        idf: array[float],
        weights: array[float],
        bias: tuple[float, ...],
        surest: float,
    ) -> Model: ...
    def weightiest(self, folded: bytes, side: int, most: int, /) -> list[tuple[str, int, int, float, float]]: ...
    def judge(self, folded: bytes, /) -> tuple[tuple[float, float, float], tuple[float, float, float]]: ...

class Judge:
    def __new__(
        cls,
        *,
        reader: Reader,
        model: Model | None,
        least: float,
        tables: Mapping[str, array[int]],
        numbers: Mapping[str, array[float]],
        objects: Mapping[str, Any],
    ) -> Judge: ...
    def classify(self, text: str, /) -> Any: ...
    def row(self, text: str, /) -> Any: ...
