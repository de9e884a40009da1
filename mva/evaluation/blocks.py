"""Responses in blocks: whole, and in the order in which they were asked for."""

from collections.abc import Iterable, Iterator

from mva.engines.base import Response


def in_blocks(responses: Iterable[Response], size: int) -> Iterator[list[Response]]:
    """Collect responses whose ids count up from 0, block after block; the last one may be smaller.

    A block is yielded as soon as it is whole and every earlier one was. So what is computed from a block does not
    depend on the order in which an engine finishes.
    """
    arrived: dict[int, list[Response]] = {}
    next_block = 0
    for response in responses:
        arrived.setdefault(response.id // size, []).append(response)
        while len(arrived.get(next_block, ())) == size:
            yield _by_id(arrived.pop(next_block))
            next_block += 1
    if arrived:
        yield _by_id(arrived.pop(next_block))


def _by_id(block: list[Response]) -> list[Response]:
    return sorted(block, key=lambda response: response.id)
