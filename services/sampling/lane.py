"""The rows of one model: who waits, who is being read, who is in the running batch. Knows no clock but its budget.

Rows join and leave the batch at any step. Between steps of the batch a piece of the waiting prompts is read.
Shapes: B rows, V vocabulary, S state.
"""

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnncore.errors import Overloaded
from rnncore.sampling import Choices, log_probabilities
from rnncore.stepper import Stepper
from services.sampling.handles import Context
from services.sampling.prefixes import BLOCK_SYMBOLS, PrefixCache
from services.sampling.row import FinishReason, Kept, Row, Score

_READ_AT_ONCE = 64
_MOST_STEPS = 64
_FIRST_GUESS_SECONDS = 1e-3


class Engine(NamedTuple):
    """What a lane needs of a model. `parameters` is the hash of its weights."""

    stepper: Stepper
    parameters: str
    unknown_id: int | None


class Turn(NamedTuple):
    """What came of a turn: rows with something to tell, rows that are no longer in the lane, and how many wrote."""

    news: list[Row]
    gone: list[Row]
    num_written: int = 0

    def end(self, row: Row) -> None:
        self.news.append(row)
        self.gone.append(row)


class Lane:
    """Writes the rows of one model, a slice of time at a turn. For one thread."""

    def __init__(self, engine: Engine, prefixes: PrefixCache, *, capacity: int) -> None:
        self._engine = engine
        self._prefixes = prefixes
        self._capacity = capacity
        banned = [] if engine.unknown_id is None else [engine.unknown_id]
        self._batch = engine.stepper.batch(capacity)
        self._choices = Choices(capacity, engine.stepper.vocabulary_size, banned=banned)
        self._ids = torch.zeros(capacity, dtype=torch.int64)
        self._waiting: OrderedDict[str, deque[Row]] = OrderedDict()
        self._reading: list[Row] = []
        self._writing: list[Row] = []
        self._step_seconds = self._symbol_seconds = _FIRST_GUESS_SECONDS
        self._rows_stepped = 1

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self._reading or self._writing)

    @property
    def num_writing(self) -> int:
        return len(self._writing)

    def add(self, row: Row) -> None:
        """Has `row` wait for its turn among those of its key."""
        self._queue(row.key).append(row)

    def turn(self, seconds: float, is_called: Callable[[], bool]) -> Turn:
        """Works for about `seconds`, less where `is_called`."""
        turn = Turn([], [])
        self._let_go(turn)
        self._admit(turn)
        if self._reading:
            self._read(seconds if self._writing else 4 * seconds, turn)
        num_written = len(self._writing)
        if self._writing:
            self._write(seconds, is_called)
            turn.news.extend(self._writing)
            self._end_written(turn)
        return turn._replace(num_written=num_written)

    # Who is in

    def _let_go(self, turn: Turn) -> None:
        """Drops the rows that nobody waits for."""
        now = time.monotonic()
        rows = [row for queue in self._waiting.values() for row in queue] + self._reading + self._writing
        late = {row for row in rows if row.deadline < now}
        for row in late:
            for one in (row, *row.siblings):
                one.error = Overloaded("the text was not written in time; ask for less, or try again later")
                turn.news.append(one)
        gone = late | {row for row in rows if row.is_cancelled}
        if not gone:
            return
        for queue in self._waiting.values():
            for row in gone.intersection(queue):
                queue.remove(row)
        self._waiting = OrderedDict((key, queue) for key, queue in self._waiting.items() if queue)
        self._reading = [row for row in self._reading if row not in gone]
        for number in reversed(range(len(self._writing))):
            if self._writing[number] in gone:
                self._leave(number)
        for row in gone:
            turn.gone.extend((row, *row.siblings))

    def _admit(self, turn: Turn) -> None:
        """Lets rows in, those of the key first that has the fewest places; they are parked and let in again for it."""
        places = Counter(row.key for row in (*self._reading, *self._writing))
        read = Counter(row.key for row in self._reading)
        while self._waiting:
            key = min(self._waiting, key=lambda key: places[key])
            queue = self._waiting[key]
            if places.total() >= self._capacity and not self._park(key, places, self._reading, self._writing):
                return
            needs_reading = len(queue[0].ids) - queue[0].num_read > 1
            if needs_reading and len(self._reading) >= _READ_AT_ONCE and not self._park(key, read, self._reading):
                return
            row = queue.popleft()
            self._waiting.move_to_end(key)
            if not queue:
                del self._waiting[key]
            self._begin(row, turn)
            if not row.has_ended:
                places[key] += 1
                read[key] += row.num_read < len(row.ids) - 1

    def _park(self, key: str, places: Counter[str], *among: list[Row]) -> bool:
        """Sets aside a row of the key that has most places, where `key` would still have fewer with one more."""
        most, number = places.most_common(1)[0]
        if number <= places[key] + 1:
            return False
        rows = max(among, key=lambda rows: sum(row.key == most for row in rows))
        at = max(n for n, row in enumerate(rows) if row.key == most)
        row = rows[at]
        if rows is self._writing:
            row.state_S, row.ids, row.num_read = self._batch.state(at), np.array(row.written[-1:] or row.ids[-1:]), 0
            row.can_be_prefix = False
            self._leave(at)
        else:
            del rows[at]
        places[most] -= 1
        self._queue(most).appendleft(row)
        return True

    def _queue(self, key: str) -> deque[Row]:
        return self._waiting.setdefault(key, deque())

    def _begin(self, row: Row, turn: Turn) -> None:
        if row.state_S is None:
            row.can_be_prefix = len(row.ids) > 1
            if row.can_be_prefix and not row.scores_prompt:
                row.num_read, row.state_S = self._prefixes.longest(self._engine.parameters, row.ids[:-1])
        if row.state_S is None:
            row.state_S = self._engine.stepper.zero_state(1)[0]
        if row.num_read < len(row.ids) - 1:
            self._reading.append(row)
        else:
            self._join(row, turn)

    def _join(self, row: Row, turn: Turn) -> None:
        """All symbols but the last are read: the next step of the batch reads that one."""
        state_S, last = _state(row), row.ids[-1:]
        for sibling in row.siblings:
            sibling.state_S, sibling.ids = state_S, last
            self._queue(row.key).append(sibling)
        row.siblings = []
        if row.num_left <= 0:
            row.context = Context(state_S.numpy(), last) if row.wants_state else None
            row.finish_reason = "length"
            turn.end(row)
            return
        if row.kept is None and row.wants_state and row.watch is not None:
            row.kept = Kept(state_S, last.tolist(), 0)
        number = self._batch.join(state_S)
        self._choices.join(row.parameters, row.written)
        self._ids[number] = int(last[0])
        self._writing.append(row)
        row.state_S = None

    def _leave(self, number: int) -> None:
        self._batch.leave(number)
        self._choices.leave(number)
        last = self._writing.pop()
        if number < len(self._writing):
            self._ids[number] = self._ids[len(self._writing)]
            self._writing[number] = last

    # Reading prompts

    def _read(self, seconds: float, turn: Turn) -> None:
        """Reads a piece of every prompt."""
        longest = max(1, min(BLOCK_SYMBOLS, int(seconds / (self._symbol_seconds * len(self._reading)))))
        pieces = []
        for row in self._reading:
            # A piece ends where a block does, so that states are kept at the same places whoever reads.
            end = min(row.num_read + longest, (row.num_read // BLOCK_SYMBOLS + 1) * BLOCK_SYMBOLS, len(row.ids) - 1)
            pieces.append(row.ids[row.num_read : end])
        states_BS = torch.stack([_state(row) for row in self._reading])
        began_at = time.perf_counter()
        reading = self._engine.stepper.read(pieces, states_BS, every=any(row.scores_prompt for row in self._reading))
        took = (time.perf_counter() - began_at) / sum(map(len, pieces))
        self._symbol_seconds = 0.7 * self._symbol_seconds + 0.3 * took
        for number, (row, piece) in enumerate(zip(self._reading, pieces, strict=True)):
            if row.scores_prompt and reading.every is not None:
                targets = row.ids[row.num_read + 1 : row.num_read + 1 + len(piece)]
                row.prompt_scores += scores(reading.every[number], torch.from_numpy(targets), row.num_top or 0)
            row.num_read += len(piece)
            row.state_S = reading.states_BS[number].clone()
            is_read = row.num_read == len(row.ids) - 1
            if row.can_be_prefix and (is_read or row.num_read % BLOCK_SYMBOLS == 0):
                self._prefixes.put(self._engine.parameters, row.ids[: row.num_read], row.state_S)
        read = [row for row in self._reading if row.num_read == len(row.ids) - 1]
        self._reading = [row for row in self._reading if row.num_read < len(row.ids) - 1]
        for row in read:
            self._join(row, turn)

    # Writing

    def _write(self, seconds: float, is_called: Callable[[], bool]) -> None:
        """Steps of the batch, until the first row ends, time is up, or somebody calls."""
        rows, number = self._writing, len(self._writing)
        watched = [n for n, row in enumerate(rows) if row.is_watched]
        # More rows than in the step that was timed take longer, at most in proportion.
        step_seconds = self._step_seconds * max(1.0, number / self._rows_stepped)
        fits = max(1, min(_MOST_STEPS, int(seconds / step_seconds)))
        most = 1 if watched else min(fits, min(row.num_left for row in rows))
        ids_B = self._ids[:number]
        steps: list[Tensor] = []
        began_at = time.perf_counter()
        while len(steps) < most and not (steps and is_called()):
            logits_BV = self._batch.step(ids_B)
            chosen_B = self._choices.choose(logits_BV)
            ids_B.copy_(chosen_B)
            steps.append(chosen_B)
            if watched:
                self._look_at(watched, logits_BV, chosen_B)
        took = (time.perf_counter() - began_at) / len(steps)
        self._step_seconds = 0.7 * step_seconds + 0.3 * took
        self._rows_stepped = number
        for row, ids in zip(rows, torch.stack(steps, dim=1).tolist(), strict=True):
            row.written += ids
        for n in watched:
            self._watch(n, rows[n])

    def _look_at(self, watched: list[int], logits_BV: Tensor, chosen_B: Tensor) -> None:
        scored = [n for n in watched if self._writing[n].num_top is not None]
        if scored:
            most = max(self._writing[n].num_top or 0 for n in scored)
            for n, score in zip(scored, scores(logits_BV[scored], chosen_B[scored], most), strict=True):
                self._writing[n].scores.append(score._replace(top=score.top[: self._writing[n].num_top]))

    def _watch(self, number: int, row: Row) -> None:
        if row.watch is None:
            return
        row.watch.add(row.written[-1:])
        if row.wants_state and not (row.watch.has_stopped or row.watch.holds_text):
            row.kept = Kept(self._batch.state(number), [], len(row.written) - 1)

    def _end_written(self, turn: Turn) -> None:
        for number in reversed(range(len(self._writing))):
            row = self._writing[number]
            reason: FinishReason | None = "length" if row.num_left <= 0 else None
            if row.watch is not None and row.watch.has_stopped:
                reason = "stop"
            if reason is not None:
                if row.wants_state:
                    row.context = self._context(number, row, reason)
                row.finish_reason = reason  # last: whoever sees it reads the rest
                turn.gone.append(row)
                self._leave(number)

    def _context(self, number: int, row: Row, reason: FinishReason) -> Context:
        """Where the text that is given out ends: what a stop string cut off is not part of the conversation."""
        if reason == "length" or row.watch is None or row.kept is None:
            return Context(self._batch.state(number).numpy(), np.array(row.written[-1:]))
        kept = row.kept
        return Context(kept.state_S.numpy(), np.array(kept.unread + row.written[kept.place : row.watch.num_kept]))


def scores(logits_NV: Tensor, ids_N: Tensor, num_top: int) -> list[Score]:
    """The log-probability that the model itself gives each of `ids_N`, and the likeliest instead."""
    logprobs_NV = log_probabilities(logits_NV)
    of_ids = logprobs_NV.gather(1, ids_N[:, None])[:, 0].tolist()
    top = logprobs_NV.topk(min(num_top, logprobs_NV.shape[1]), dim=1)
    rows = zip(of_ids, top.indices.tolist(), top.values.tolist(), strict=True)
    return [Score(logprob, list(zip(ids, values, strict=True))) for logprob, ids, values in rows]


def _state(row: Row) -> Tensor:
    assert row.state_S is not None
    return row.state_S
