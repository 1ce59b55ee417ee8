"""The load of serve-model's /health in the choice among models: who is asked for it, how often, and what it changes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
from serve.endpoint import serve
from servers.plain import PlainServer, Said
from servers.protocol import ProtocolServer, good

from agentfleet import Model, ask, graph, summarise
from agentfleet.routing import health
from agentfleet.routing.health import EVERY, MOST_CALLS, STALE, Loads
from agentfleet.routing.watch import KEPT
from agentfleet.runtime.loop import LOOP
from agentfleet.runtime.session import Session

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "WAIT", 60.0)


def told(running: Any, queue: Any = 0, **changes: Any) -> Said:
    """An answer in serve-model's shape."""
    times = {"ms_per_input_token": None, "ms_per_output_token": 20.5}
    return Said({"status": "ok", "model": "m", "running": running, "queue": queue, **times, **changes})


def model(name: str, url: str, **more: Any) -> Model:
    return Model(name=name, backend="openai", model="m", base_url=f"{url}/v1", tier="large", **more)


class Asked:
    """Loads on a clock that we turn. `running`: the calls that this process has under way."""

    def __init__(self, running: Mapping[str, int] | None = None) -> None:
        self.now = 0.0
        self.running = dict(running or {})
        self.loads = Loads(lambda name: self.running.get(name, 0), lambda: self.now)

    async def again(self, *models: Model, after: float = EVERY) -> None:
        """Somebody chooses among these models so much later; the answers have come."""
        self.now += after
        self.loads.refresh(models)
        await self.loads.settle()

    def load(self, one: Model) -> tuple[int, int | None] | None:
        found = self.loads.of(one)
        return None if found is None else (found.elsewhere(one.name), found.places)


def run(work: Coroutine[Any, Any, Any]) -> None:
    asyncio.run(work)


def test_an_endpoint_that_tells_is_asked_once_a_second_while_somebody_chooses() -> None:
    async def main(server: PlainServer) -> None:
        asked, one = Asked(), model("a", server.url)
        assert asked.load(one) is None
        asked.loads.refresh([one])
        assert server.seen == [], "nothing is sent before whoever chooses lets go"
        await asked.loads.settle()
        assert asked.load(one) == (3, None)
        for _ in range(5):
            await asked.again(one, after=EVERY / 8)
        assert server.paths() == ["/health"]
        server.replies["/health"] = told(2, 4)
        await asked.again(one)
        assert asked.load(one) == (6, 2) and len(server.seen) == 2
        asked.now += STALE + 0.1
        assert asked.load(one) is None, "it was not told lately"
        await asked.loads.close()

    with PlainServer({"/health": told(3)}) as server:
        run(main(server))


def test_calls_of_this_process_are_not_counted_twice() -> None:
    async def main(server: PlainServer) -> None:
        asked = Asked({"a": 2, "b": 1})
        first, second = model("a", server.url), model("b", server.url)
        await asked.again(first, second)
        assert (asked.load(first), asked.load(second)) == ((3, 4), (4, 4)), "the other's calls stand there too"
        assert len(server.seen) == 1, "two entries, one endpoint"
        asked.running["a"] = 9
        await asked.again(first)
        assert asked.load(first) == (0, 4)
        await asked.loads.close()

    with PlainServer({"/health": told(4, 1)}) as server:
        run(main(server))


@pytest.mark.parametrize(
    "said",
    [
        Said(status=404),
        Said(),  # vLLM's
        Said({"status": "ok"}),  # llama-server's
        Said({"running": 1, "queue": 0}),
        told("3"),
        told(True),
        told(-1),
        told(MOST_CALLS + 1),
        told(1, None),
        told(1, status=["x" * 20_000]),
        Said(b'{"running": 1, "running": 2, "queue": 0, "ms_per_output_token": 1}'),
        Said(b"[" * 9_000),
        Said(b"\xff\xfe{"),
        Said(status=302, headers={"location": "/elsewhere"}),
        Said(hang=True),
    ],
)
def test_any_other_endpoint_is_asked_once_and_never_again(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    if said.hang:
        monkeypatch.setattr(health, "WAIT", 0.1)

    async def main(server: PlainServer) -> None:
        asked, one = Asked(), model("a", server.url)
        for _ in range(3):
            await asked.again(one)
            assert asked.load(one) is None
        assert server.paths() == ["/health"]
        await asked.loads.close()

    with PlainServer({"/health": said, "/elsewhere": told(1)}) as server:
        run(main(server))


def test_one_that_told_once_is_asked_on_after_it_failed() -> None:
    async def main(server: PlainServer) -> None:
        asked, one = Asked(), model("a", server.url)
        await asked.again(one)
        server.replies["/health"] = Said(status=500)
        await asked.again(one)
        assert asked.load(one) is None
        server.replies["/health"] = told(1)
        await asked.again(one)
        assert asked.load(one) == (1, None)
        await asked.loads.close()

    with PlainServer({"/health": told(3)}) as server:
        run(main(server))


def test_a_server_that_is_not_up_yet_was_not_asked() -> None:
    async def main(free: int) -> None:
        asked, one = Asked(), model("a", f"http://127.0.0.1:{free}")
        await asked.again(one)
        assert asked.load(one) is None
        await asked.again(one)
        assert asked.loads._endpoints[f"http://127.0.0.1:{free}"].tells is None
        await asked.loads.close()

    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        run(main(held.getsockname()[1]))


def test_models_without_an_endpoint_of_that_kind_are_never_asked() -> None:
    async def main(server: PlainServer) -> None:
        asked = Asked()
        here = Model(name="here", backend="llama_cpp", model="embedded")
        cloud = Model(name="cloud", backend="openai", model="m")
        claude = Model(name="claude", backend="anthropic", model="m", base_url=server.url)
        await asked.again(here, cloud, claude)
        assert server.seen == [] and asked.load(cloud) is None
        await asked.loads.close()

    with PlainServer({"/health": told(3)}) as server:
        run(main(server))


# -- whole runs --------------------------------------------------------------------------------------------------------


@summarise(tier="large")
def gist(mail: str) -> str:
    """One sentence."""
    return ask(mail)


@graph
def desk(mail: str) -> str:
    return gist(mail)


def chat(text: str) -> Said:
    """A completion of the chat protocol."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return Said(body)


def answered(run: Any) -> list[tuple[str, str]]:
    return [(attempt.model, attempt.outcome.value) for _, attempt in run.attempts]


def settled(one: Session) -> None:
    LOOP.submit(one.dispatcher.loads.settle()).result(10)


def test_a_run_goes_around_an_endpoint_that_others_keep_busy(session: Any) -> None:
    replies = {"/health": told(1, 100_000), "/v1/chat/completions": chat('{"answer":"A parcel."}')}
    with PlainServer(replies) as busy, ProtocolServer(good("A parcel.")) as idle:
        one = session(model("a", busy.url), model("b", idle.origin))
        for _ in range(KEPT):
            one.dispatcher.watch.saw("a", "text", 1, 0.01, time.monotonic())
            one.dispatcher.watch.saw("b", "text", 1, 60.0, time.monotonic())
        first = one.run(desk, {"mail": "first"})
        settled(one)
        second = one.run(desk, {"mail": "second"})
    assert answered(first) == [("a", "valid")], "nothing was known yet, and nothing was waited for"
    assert answered(second) == [("b", "valid")]


def test_a_health_that_hangs_delays_and_fails_no_run(session: Any) -> None:
    replies = {"/health": Said(hang=True), "/v1/chat/completions": chat('{"answer":"A parcel."}')}
    with PlainServer(replies) as stuck:
        one = session(model("a", stuck.url), model("b", stuck.url))
        runs = [one.run(desk, {"mail": f"{number}"}) for number in range(3)]
        assert all([outcome for _, outcome in answered(run)] == ["valid"] for run in runs)
        assert stuck.paths().count("/health") == 1
        task = one.dispatcher.loads._endpoints[stuck.url].task
        assert task is not None and not task.done(), "no run has waited for it"
        LOOP.submit(one.dispatcher.loads.close()).result(10)
        assert task.cancelled()


@pytest.mark.real_model
def test_the_load_of_a_real_endpoint_is_read(tmp_path: Path) -> None:
    served = serve(tmp_path)

    async def main() -> None:
        asked, one = Asked(), model("a", served.url.removesuffix("/v1"))
        await asked.again(one)
        assert asked.load(one) == (0, None)
        calls = [asyncio.create_task(asyncio.to_thread(served.chat, "Tell me a story.", max_tokens=100)) for _ in "ab"]
        await asyncio.to_thread(served.until, inside=2)
        await asked.again(one)
        found = asked.loads.of(one)
        assert found is not None and found.elsewhere("a") == 2
        await asked.loads.close()
        await asyncio.gather(*calls)

    try:
        run(main())
    finally:
        served.process.kill()
        served.process.communicate()
