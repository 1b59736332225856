"""A query to LangSmith, page after page into its spool: several questions at once, an event a page."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import orjson

from langchain_finetune._stage import Event, Steps
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders._corrections import correction_of
from langchain_finetune.loaders._found import Found
from langchain_finetune.loaders._langsmith_queries import RunQuery
from langchain_finetune.loaders._langsmith_source import (
    LangSmithSource,
    Page,
    Part,
    Window,
    root_matches,
    unit_of,
    window_of,
)
from langchain_finetune.loaders._query_spool import OpenPart, QuerySpool
from langchain_finetune.loaders._selection import Sieve
from langchain_finetune.loaders._spooling import LOAD_EVENT
from langchain_finetune.runs import Reason, Rejection, read_correction, run_id_of, trace_id_of

LONGEST_AGE_SECONDS: Final = 86_400.0
"""A query that was broken off longer ago is begun anew: feedback and runs may be others by now."""

_NEVER_KEYED: Final = frozenset({"snapshot", "refresh", "project_name"})


def key_of(source: LangSmithSource, selection: RunSelection) -> str:
    """Return the name of a query: what is asked, of whom. An end that is left open is no part of it."""
    asked = selection.model_dump(mode="json", exclude=set(_NEVER_KEYED))
    asked |= {"url": source.url, "project": source.project[0], "api": source.version}
    if callable(selection.feedback):
        code = getattr(selection.feedback, "__code__", None)
        asked["predicate"] = repr((code.co_code, code.co_consts)) if code else ""
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class Fetching:
    """Fetches all that a selection asks LangSmith for.

    Args:
        source: The LangSmith.
        selection: What is wanted.
        spool: Where pages are kept.
        num_shards: Questions asked at once, within the limit that all of them share.
    """

    def __init__(
        self, source: LangSmithSource, selection: RunSelection, spool: QuerySpool, num_shards: int
    ) -> None:
        self._source = source
        self._selection = selection
        self._spool = spool
        self._num_shards = 1 if selection.limit else num_shards
        if spool.meta("window") is None:
            window = window_of(selection)
            spool.keep(window=[window.start.isoformat(), window.end.isoformat()])
        self.window = Window(*map(datetime.fromisoformat, spool.meta("window")))
        self._trials: dict[int, tuple[Sieve, set[str]]] = {}

    def steps(self) -> Steps[None]:
        """Fetch what is missing; an event after each page."""
        spool = self._spool
        if spool.meta("stage") is None:
            yield from self._first_page()
        yield from self._all_pages()
        if spool.meta("stage") == "roots":
            parts = self._source.parts_of_roots(self.window, spool.units())
            spool.add_parts([_dumped(part) for part in parts], stage="runs")
            yield from self._all_pages()

    def found(self) -> Iterator[Found | Rejection]:
        """Yield what was fetched, newest first."""
        for run_id, run, root_feedback, correction in self._spool.runs():
            if run is None:
                yield Rejection(run_id, Reason.TOO_DEEP)
            else:
                yield Found(run, root_feedback, correction)

    def _first_page(self) -> Steps[None]:
        """Look how much there is: what is not on one page is asked for in shards of the window.

        Nothing is concluded from the order of the page: the shards cover the whole window, and the look is
        one request.
        """
        stage = "runs" if self._selection.scope == "run" else "roots"
        whole = self._source.parts(self._selection, self.window)
        page = self._source.page(whole[0].query, None)
        if page.cursor is None or self._num_shards == 1:
            self._spool.add_parts([_dumped(part) for part in whole], stage=stage)
            first, page = self._spool.open_parts()[0], self._completed(whole[0], page)
            self._enter(first, page)
            if self._is_enough(first, page):
                self._spool.enter(first.number, None)
        else:
            start = _since(self.window, self._source)
            shards = Window(start, self.window.end).split(self._num_shards)
            if start > self.window.start:  # runs may be older than their project: they were imported
                shards.append(Window(self.window.start, start))
            parts = [part for shard in shards for part in self._source.parts(self._selection, shard)]
            self._spool.add_parts([_dumped(part) for part in parts], stage=stage)
        yield self._event()

    def _all_pages(self) -> Steps[None]:
        waiting = self._spool.open_parts()
        under_way: dict[Future[Page], OpenPart] = {}
        pool = ThreadPoolExecutor(self._num_shards, "langsmith")
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self._num_shards:
                    part = waiting.pop(0)
                    under_way[pool.submit(self._fetch, part)] = part
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    part = under_way.pop(future)
                    page = future.result()
                    self._enter(part, page)
                    if page.cursor is not None and not self._is_enough(part, page):
                        waiting.insert(0, OpenPart(part.number, part.query, page.cursor))
                    yield self._event()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, part: OpenPart) -> Page:
        loaded = _loaded(part.query)
        return self._completed(loaded, self._source.page(loaded.query, part.cursor))

    def _completed(self, part: Part, page: Page) -> Page:
        """Look up what hangs on the runs of a page: the scores on their roots, their corrections."""
        if part.brings_roots:
            return page
        run_ids = {str(run["id"]) for run in page.runs}
        trace_ids = {trace_id for run in page.runs if (trace_id := trace_id_of(run))} - run_ids
        roots = self._source.root_feedback(trace_ids) if trace_ids else {}
        corrections: dict[str, Any] = {}
        if self._selection.corrections != "ignore" and page.runs:
            corrections = self._source.corrections(run_ids | trace_ids)
        return Page(page.runs, page.cursor, roots, corrections)

    def _enter(self, part: OpenPart, page: Page) -> None:
        if _loaded(part.query).brings_roots:
            matching = [run for run in page.runs if root_matches(run, self._selection)]
            units = {unit_of(root, self._selection) for root in matching}
            self._spool.enter(part.number, page.cursor, units=units)
        else:
            self._spool.enter(
                part.number, page.cursor, runs=page.runs, roots=page.roots, corrections=page.corrections
            )

    def _is_enough(self, part: OpenPart, page: Page) -> bool:
        """Say whether a question has brought as many runs as are wanted in all.

        Pages come newest first. Each question is read that far: none of them knows what the others bring.
        """
        if self._selection.limit is None or _loaded(part.query).brings_roots:
            return False
        new = Sieve(self._selection, is_one_project=True), set[str]()
        trial, used = self._trials.setdefault(part.number, new)
        for run in page.runs:
            trace_id = trace_id_of(run) or ""
            correction = correction_of(run_id_of(run), trace_id, page.corrections, used)
            is_corrected = read_correction(correction) is not None
            trial.takes(run, page.roots.get(trace_id, {}), is_corrected=is_corrected)
        return trial.is_full

    def _event(self) -> Event:
        spool = self._spool
        window = f"{self.window.start:%Y-%m-%d %H:%M} to {self.window.end:%Y-%m-%d %H:%M} UTC"
        return Event(LOAD_EVENT, {"num_pages": spool.num_pages, "num_runs": spool.num_runs, "window": window})


def _since(window: Window, source: LangSmithSource) -> datetime:
    started = source.project[1]
    return started if window.start < started < window.end else window.start


def _dumped(part: Part) -> dict[str, Any]:
    return {"brings_roots": part.brings_roots, "query": asdict(part.query)}


def _loaded(value: Mapping[str, Any]) -> Part:
    query = dict(value["query"])
    for name in ("start", "end"):
        query[name] = datetime.fromisoformat(query[name])
    for name in ("run_ids", "columns"):
        query[name] = tuple(query[name])
    return Part(RunQuery(**query), value["brings_roots"])
