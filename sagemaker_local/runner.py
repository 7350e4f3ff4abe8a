"""Runs pipeline executions: each in a thread of its own, its steps in the order that their dependencies allow."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sagemaker_local.definition import parse_definition
from sagemaker_local.errors import JobError, StopRequested
from sagemaker_local.expressions import ExpressionError, Scope, look_up
from sagemaker_local.names import execution_id
from sagemaker_local.steps import Attempt, Retries, StepResult
from sagemaker_local.transfer import S3Uri

if TYPE_CHECKING:
    from sagemaker_local.definition import Step
    from sagemaker_local.state import Document, Store
    from sagemaker_local.steps import Steps
    from sagemaker_local.transfer import Transfer

logger = logging.getLogger(__name__)

CUT_OFF = "{what} was cut off: sagemaker_local was stopped while it ran"
_STEPS_AT_ONCE = 8
_FAILED = "Step failure: One or multiple steps failed."


class Runner:
    """Starts and stops executions; what happens is written to the store as it happens."""

    def __init__(self, *, store: Store, steps: Steps, transfer: Transfer, closing: threading.Event) -> None:
        self._store = store
        self._steps = steps
        self._transfer = transfer
        self._closing = closing
        self._running: dict[str, tuple[threading.Event, threading.Thread]] = {}
        self._lock = threading.Lock()

    def start(self, arn: str) -> None:
        """Run an execution that stands in the store, in the background."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(arn, stop), name=f"execution-{execution_id(arn)}")
        with self._lock:
            self._running[arn] = (stop, thread)
        thread.start()

    def stop(self, arn: str) -> None:
        """Ask an execution to stop; its status follows when its jobs have ended."""
        with self._lock:
            running = self._running.get(arn)
        if running:
            running[0].set()

    def close(self) -> None:
        """End all jobs and wait; the executions are then marked as cut off (`closing` is set already)."""
        with self._lock:
            running = list(self._running.values())
        for stop, _ in running:
            stop.set()
        for _, thread in running:
            thread.join()
        self.mark_cut_off()

    def mark_cut_off(self) -> None:
        """Whatever the store still calls running was cut off by the end of the service, this one or the one before."""
        _fail_running(self._store, "execution", "PipelineExecutionStatus", what="The pipeline execution")
        _fail_running(self._store, "step", "StepStatus", what="The step", end="EndTime")
        _fail_running(self._store, "training-job", "TrainingJobStatus", what="The job", end="TrainingEndTime")
        _fail_running(self._store, "processing-job", "ProcessingJobStatus", what="The job", end="ProcessingEndTime")

    def _run(self, arn: str, stop: threading.Event) -> None:
        try:
            status = Execution(
                arn,
                store=self._store,
                steps=self._steps,
                transfer=self._transfer,
                stop=stop,
                closing=self._closing,
            ).run()
        except Exception:
            logger.exception("execution %s ended by a fault of sagemaker_local", arn)
            status = "Failed"
        if not self._closing.is_set():
            reason = _FAILED if status == "Failed" else None
            self._store.update("execution", arn, {"PipelineExecutionStatus": status, "FailureReason": reason})
            logger.info("execution %s: %s", arn, status)
        with self._lock:
            if self._running[arn][0] is stop:  # not if the execution is being retried already
                del self._running[arn]


def _fail_running(store: Store, kind: str, member: str, *, what: str, end: str = "") -> None:
    for document in store.documents(kind):
        if document[member] in ("Starting", "Executing", "InProgress", "Stopping"):
            changes: Document = {member: "Failed", "FailureReason": CUT_OFF.format(what=what)}
            changes |= {end: time.time()} if end else {}
            changes |= {"SecondaryStatus": "Failed"} if kind == "training-job" else {}
            store.update(kind, document["_name"], changes)


class Execution:
    """One execution from its first step to its end; also a retried one, whose succeeded steps stay as they are."""

    def __init__(
        self,
        arn: str,
        *,
        store: Store,
        steps: Steps,
        transfer: Transfer,
        stop: threading.Event,
        closing: threading.Event,
    ) -> None:
        self._arn = arn
        self._store = store
        self._steps = steps
        self._transfer = transfer
        self._stop = stop
        self._closing = closing
        self._document = store.get("execution", arn) or {}
        self._definition = parse_definition(self._document["_definition"])
        self._results = {
            step["StepName"]: StepResult(step["_properties"], step.get("Metadata", {}), step.get("_outcome"))
            for step in store.documents("step", parent=arn)
            if step["StepStatus"] == "Succeeded"
        }
        self._failed = False

    def run(self) -> str:
        """Run all steps that are due; the execution's final status."""
        at_once = self._document.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps", _STEPS_AT_ONCE)
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(at_once, thread_name_prefix="step") as pool:
            while True:
                for step in self._due(set(running.values())):
                    running[pool.submit(self._run_step, step)] = step.name
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[future]
                    future.result()
        if self._stop.is_set():
            return "Stopped"
        return "Failed" if self._failed else "Succeeded"

    def _due(self, running: set[str]) -> list[Step]:
        """Steps whose dependencies have all succeeded. After a failure or a stop nothing new begins."""
        if self._failed or self._stop.is_set():
            return []
        waiting = [s for s in self._definition.steps.values() if s.name not in running and s.name not in self._results]
        return [step for step in waiting if self._may_start(step)]

    def _may_start(self, step: Step) -> bool:
        if not all(name in self._results for name in step.after):
            return False
        return step.branch is None or self._results[step.branch[0]].outcome == step.branch[1]

    def _run_step(self, step: Step) -> None:
        """Run a step with its retries and write down how it ended."""
        self._begin(step)
        try:
            result = self._attempts(step)
        except StopRequested:
            if not self._closing.is_set():  # then the step counts as cut off
                self._note(step, {"StepStatus": "Stopped", "EndTime": time.time()})
        except JobError as error:
            self._fail(step, str(error))
        except Exception:
            logger.exception("step %s of %s ended by a fault of sagemaker_local", step.name, self._arn)
            self._fail(step, "InternalServerError: a fault of sagemaker_local; its own log has the details")
        else:
            end = {"StepStatus": "Succeeded", "EndTime": time.time(), "Metadata": result.metadata}
            self._note(step, end | {"_properties": result.properties, "_outcome": result.outcome})
            self._results[step.name] = result

    def _begin(self, step: Step) -> None:
        name = f"{self._arn}/{step.name}"
        document = {
            "_name": name,
            "StepName": step.name,
            "StepDisplayName": step.display_name,
            "StepDescription": step.description,
            "StepStatus": "Executing",
            "StartTime": time.time(),
            "AttemptCount": 0,
        }
        with self._store.transaction():
            self._store.delete("step", name)
            self._store.insert("step", name, document, parent=self._arn)

    def _fail(self, step: Step, reason: str) -> None:
        self._failed = True
        self._note(step, {"StepStatus": "Failed", "EndTime": time.time(), "FailureReason": reason[:1024]})
        logger.warning("step %s of %s failed: %s", step.name, self._arn, reason)

    def _note(self, step: Step, changes: Document) -> None:
        self._store.update("step", f"{self._arn}/{step.name}", changes)

    def _attempts(self, step: Step) -> StepResult:
        retries = Retries(step)
        while True:
            try:
                return self._steps.run(self._attempt(step))
            except JobError as error:
                delay_s = retries.delay_s(error)
                if delay_s is None:
                    raise
                logger.info("step %s: next attempt in %.0f s after: %s", step.name, delay_s, error)
                self._note(step, {"AttemptCount": retries.used})
                if self._stop.wait(delay_s):
                    raise StopRequested from error

    def _attempt(self, step: Step) -> Attempt:
        return Attempt(
            step=step,
            execution_id=execution_id(self._arn),
            scope=self._scope(),
            stop=self._stop,
            announce=lambda metadata: self._note(step, {"Metadata": metadata}),
        )

    def _scope(self) -> Scope:
        document = self._document
        variables = {
            "StartDateTime": _iso(document["CreationTime"]),
            "CurrentDateTime": _iso(time.time()),
            "PipelineName": document["_pipeline_name"],
            "PipelineArn": document["PipelineArn"],
            "PipelineExecutionId": execution_id(self._arn),
            "PipelineExecutionArn": self._arn,
        }
        return Scope(
            parameters=document["_parameters"],
            execution=variables,
            step=self._properties,
            property_file=self._property_file,
            s3_object=lambda uri: self._transfer.read(S3Uri.parse(uri)),
        )

    def _properties(self, name: str) -> Document:
        if name not in self._results:
            raise ExpressionError(f"step {name!r} has not run")
        return self._results[name].properties

    def _property_file(self, step: str, name: str) -> bytes:
        output, path = self._definition.steps[step].property_files[name]
        where: tuple[str | int, ...] = ("ProcessingOutputConfig", "Outputs", output, "S3Output", "S3Uri")
        uri: Any = look_up(self._properties(step), where, what=f"the property file {name!r}")
        return self._transfer.read(S3Uri.parse(uri).below(path))


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
