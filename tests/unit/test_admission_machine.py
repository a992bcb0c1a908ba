"""Random long lives of the queue: what must hold holds after each event, and nobody is left."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.admission import READY, STARTING, STOPPING, Owner, an_owner

NAMES = "abcd"
names = st.sampled_from(NAMES)
contexts = st.sampled_from([2048, 4096, 8192])


class AdmissionMachine(RuleBasedStateMachine):
    """An owner to whom anything happens in any order."""

    owner: Owner

    @initialize(
        max_resident=st.integers(1, 3),
        quantum_seconds=st.sampled_from([0.0, 10.0]),
        linger_seconds=st.sampled_from([0.0, 0.025, 30.0]),
        queue_limit=st.sampled_from([2, 1024]),
        queue_seconds=st.sampled_from([0.0, 30.1]),
        idle_seconds=st.sampled_from([0.0, 5.3]),
    )
    def begin(self, max_resident: int, **policy: float) -> None:
        self.owner = an_owner(*NAMES, max_resident=max_resident, **policy)

    @rule(model=names, context=contexts)
    def ask(self, model: str, context: int) -> None:
        self.owner.ask(model, context)

    @rule(model=names, context=contexts, number=st.integers(2, 5))
    def ask_several_times(self, model: str, context: int, number: int) -> None:
        for _ in range(number):
            self.owner.ask(model, context)

    @rule(model=names)
    def visit(self, model: str) -> None:
        request = self.owner.ask(model, may_load=False)
        assert not request.is_waiting, "a request that may not load never waits"

    @precondition(lambda self: self.owner.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.owner.leave(data.draw(st.sampled_from(self.owner.waiting)))

    @precondition(lambda self: self.owner.leasing)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.owner.finish(data.draw(st.sampled_from(self.owner.leasing)))

    @precondition(lambda self: self.owner.leasing)
    @rule()
    def finish_all(self) -> None:
        self.owner.finish_all()

    @precondition(lambda self: self._in_state(STARTING))
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        self.owner.load(data.draw(st.sampled_from(self._in_state(STARTING))))

    @precondition(lambda self: self._in_state(STARTING))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.owner.fail(data.draw(st.sampled_from(self._in_state(STARTING))))

    @precondition(lambda self: self._in_state(READY))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.owner.crash(data.draw(st.sampled_from(self._in_state(READY))))

    @precondition(lambda self: self._in_state(READY))
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.owner.die(data.draw(st.sampled_from(self._in_state(READY))))

    @precondition(lambda self: self._in_state(STOPPING))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.owner.end(data.draw(st.sampled_from(self._in_state(STOPPING))))

    @precondition(lambda self: self._in_state(STOPPING))
    @rule(data=st.data())
    def load_too_late(self, data: st.DataObject) -> None:
        self.owner.load(data.draw(st.sampled_from(self._in_state(STOPPING))))

    @rule(model=st.none() | names)
    def unload(self, model: str | None) -> None:
        self.owner.unload(model)

    @rule(seconds=st.sampled_from([0.01, 0.1, 5.0, 10.0, 40.0, 600.0]))
    def pass_time(self, seconds: float) -> None:
        self.owner.pass_time(seconds)

    @rule(seconds=st.sampled_from([0.1, 20.0]))
    def be_late(self, seconds: float) -> None:
        """The process slept: no tick came in time."""
        self.owner.now += seconds

    @rule(
        model=names,
        is_pinned=st.booleans(),
        max_concurrent=st.sampled_from([None, 1, 2]),
        idle_seconds=st.sampled_from([None, 0.0, 3.0]),
    )
    def edit(self, model: str, **changes: object) -> None:
        self.owner.change(model, **changes)

    @rule(model=names)
    def remove_from_catalog(self, model: str) -> None:
        self.owner.refresh(without=model)

    @rule(model=names)
    def forget_failure(self, model: str) -> None:
        self.owner.queue.forget_failure(self.owner.models[model].id)

    @precondition(lambda self: len(self.owner.requests) > 20)
    @rule()
    def close(self) -> None:
        self.owner.close()
        assert not self.owner.waiting

    @invariant()
    def it_is_at_rest(self) -> None:
        if self.owner.queue.deadline > self.owner.now:
            self.owner.check_is_at_rest()

    def teardown(self) -> None:
        if hasattr(self, "owner"):
            self.owner.come_to_rest()
            assert all(each.has_ended for each in self.owner.requests)

    def _in_state(self, state: object) -> list[str]:
        processes = [each.resident for each in self.owner.processes]
        return [each.model.name for each in processes if each.state is state]


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
