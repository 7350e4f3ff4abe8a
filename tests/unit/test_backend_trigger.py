"""The trigger without a service: it answers at once, and does the work when it calls itself."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.aws import Endpoint, ModelPackage
from backend.bucket_images import BucketImages, no_copy
from backend.deployer import Deployer
from backend.errors import AwsAwayError, AwsError, BackendError, RequestError
from backend.lambda_events import TrainRequest, parse_call
from backend.poller import Rounds
from backend.s3_annotations import S3Annotations
from backend.state import StateFile
from backend.trainer import Trainer
from backend.trigger import Behind, Trigger
from tests import fakes
from tests.fakes import FakeCloud, FakeDeployer, FakeTrainer, recorded, recorded_names

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:label-studio-segmentation-trigger"


@dataclass
class Bucket(FakeCloud):
    """AWS in memory, its bucket with listings; it remembers what was read."""

    read: list[str] = field(default_factory=list)

    def etags(self, prefix: str) -> dict[str, str]:
        self._check()
        return {key: str(hash(body)) for (_, key), body in self.objects.items() if key.startswith(prefix)}

    def folders(self, prefix: str) -> list[str]:
        self._check()
        below = [key.removeprefix(prefix) for _, key in self.objects if key.startswith(prefix)]
        return sorted({key.partition("/")[0] for key in below})

    def get_object(self, bucket: str, key: str, *, limit: int | None = None) -> bytes:
        self._check()
        self.read.append(key)
        return self.objects[bucket, key]

    def annotate(self, *numbers: int, project: int = 3) -> None:
        """Annotations in the target storage, of tasks whose images are there."""
        for number in numbers:
            body = recorded("s3_target_four_polygons") | {"id": number, "project": project}
            body["task"] |= {"id": number, "data": {"image": f"s3://birds/images/{number}.jpg"}}
            self.objects["birds", f"annotations/{number}"] = json.dumps(body).encode()
            self.objects["birds", f"images/{number}.jpg"] = b"an image"


@dataclass
class FakeFunctions:
    """Calls that are to be made later."""

    called: list[Mapping[str, object]] = field(default_factory=list)
    error: BackendError | None = None

    def call_later(self, arn: str, event: Mapping[str, object]) -> None:
        assert arn == FUNCTION
        if self.error is not None:
            raise self.error
        self.called.append(json.loads(json.dumps(event)))


@pytest.fixture
def cloud() -> Bucket:
    return Bucket()


@pytest.fixture
def functions() -> FakeFunctions:
    return FakeFunctions()


def instance(folder: Path, cloud: Bucket, functions: FakeFunctions, **changes: object) -> Trigger:
    """One of the function's instances; each has a disk of its own."""
    settings, states = fakes.settings(folder, **changes), StateFile(folder / "projects.json")
    annotations = S3Annotations(settings, store=cloud)
    images = BucketImages(settings, store=cloud, copy=no_copy)
    trainer = Trainer(settings, cloud=cloud, source=annotations, images=images)
    rounds = Rounds(trainer=trainer, deployer=Deployer(settings, cloud=cloud, states=states), states=states)
    behind = Behind(annotations, rounds)
    return Trigger(settings, states=states, functions=functions, behind=lambda: behind)


@pytest.fixture
def trigger(tmp_path: Path, cloud: Bucket, functions: FakeFunctions) -> Trigger:
    return instance(tmp_path, cloud, functions)


def webhook(annotations: int, *, project: int = 3, action: str = "ANNOTATION_CREATED") -> dict[str, Any]:
    """A webhook as Label Studio sends it."""
    body: dict[str, Any] = recorded("webhook_ANNOTATION_CREATED_four_polygons_s3")
    body["action"] = action
    body["project"] |= {"id": project, "total_annotations_number": annotations}
    return body


def run(trigger: Trigger, functions: FakeFunctions) -> None:
    """What the function asked of itself is done."""
    called, functions.called = functions.called, []
    for event in called:
        call = parse_call(event, pipeline="label-studio-segmentation")
        assert isinstance(call, TrainRequest)
        trigger.train(call)


def started(cloud: Bucket) -> list[str]:
    return [execution.arn.split("/")[1] for execution in cloud.history]


def test_a_webhook_is_answered_without_a_call_of_s3_and_sagemaker(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions
):
    cloud.error = AwsAwayError("must not be asked")

    answer = trigger.hear(webhook(13), function=FUNCTION)

    assert answer == {"status": "waiting", "annotations": 13, "train_at": 16, "message": "13/16 annotations"}
    assert len(functions.called) == 1


def test_the_16th_annotation_starts_one_execution_on_what_the_target_storage_has(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions
):
    for number in range(1, 17):
        cloud.annotate(number)
        trigger.hear(webhook(number), function=FUNCTION)
        run(trigger, functions)

    assert started(cloud) == ["p3-n16-0"]
    uri = cloud.parameters[0]["DatasetS3Uri"]
    lines = cloud.objects["birds", uri.removeprefix("s3://birds/") + "tasks.jsonl"].splitlines()
    assert [json.loads(line)["image"] for line in lines] == [f"images/{number}.jpg" for number in range(1, 17)]
    assert all(len(json.loads(line)["regions"]) == 4 for line in lines)


def test_below_the_threshold_no_annotation_is_read(trigger: Trigger, cloud: Bucket, functions: FakeFunctions):
    cloud.annotate(*range(1, 16))

    trigger.hear(webhook(15), function=FUNCTION)
    run(trigger, functions)

    assert cloud.read == []
    assert trigger.get(3).problem == ""


def test_a_webhook_that_comes_twice_and_work_that_is_done_twice_start_one_execution(
    tmp_path: Path, cloud: Bucket, functions: FakeFunctions
):
    first, second = instance(tmp_path / "a", cloud, functions), instance(tmp_path / "b", cloud, functions)
    cloud.annotate(*range(1, 17))
    for each in (first, second, first):
        each.hear(webhook(16), function=FUNCTION)
    again = list(functions.called)

    run(first, functions)
    functions.called = again
    run(second, functions)

    assert started(cloud) == ["p3-n16-0"]


def test_an_event_that_came_before_its_annotation_was_written_is_made_up_for_by_the_next_look(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions, caplog: pytest.LogCaptureFixture
):
    cloud.annotate(*range(1, 16))
    trigger.hear(webhook(16), function=FUNCTION)
    run(trigger, functions)
    assert started(cloud) == []
    assert "16 annotations were told of, 15 are there; a target storage may want a sync" in caplog.text
    cloud.annotate(16)

    trigger.look_after()

    assert started(cloud) == ["p3-n16-0"]


def test_a_lost_webhook_is_made_up_for_by_the_next_look(trigger: Trigger, cloud: Bucket, functions: FakeFunctions):
    cloud.annotate(*range(1, 17))
    trigger.hear(webhook(15), function=FUNCTION)
    run(trigger, functions)

    trigger.look_after()

    assert started(cloud) == ["p3-n16-0"]


def test_what_failed_is_tried_again_after_the_cool_down_by_a_look(tmp_path: Path, cloud: Bucket):
    functions = FakeFunctions()
    trigger = instance(tmp_path, cloud, functions)
    cloud.annotate(*range(1, 17))
    trigger.hear(webhook(16), function=FUNCTION)
    run(trigger, functions)
    cloud.finish("Failed")
    trigger.look_after(3)
    assert started(cloud) == ["p3-n16-0"]

    cloud.finish("Failed", ago=timedelta(hours=1))
    instance(tmp_path / "another", cloud, functions).look_after()

    assert started(cloud) == ["p3-n16-0", "p3-n16-1"]


def test_nothing_is_deployed_that_nobody_asked_for_and_no_endpoint_touched(trigger: Trigger, cloud: Bucket):
    """An endpoint costs all day long; one that is there is a backend's, which looks after it."""
    cloud.packages = [ModelPackage("arn:package/1", 1, "", "job")]
    trigger.look_after(3)
    cloud.packages, cloud.served = [], Endpoint("Failed", 1)
    trigger.look_after(3)

    assert (cloud.deployed, trigger.get(3).live) == ([], "")
    assert cloud.served is not None


def test_a_training_is_measured_by_the_newest_model_though_it_is_not_deployed(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions
):
    cloud.packages = [ModelPackage("arn:package/1", 1, "", "job")]
    cloud.miou = 0.8
    cloud.annotate(*range(1, 17))
    trigger.hear(webhook(16), function=FUNCTION)
    run(trigger, functions)

    assert float(cloud.parameters[0]["ApproveMIoU"]) == pytest.approx(0.78)


def test_an_approved_package_is_deployed_if_that_is_wanted_and_no_label_studio_told(
    tmp_path: Path, cloud: Bucket, functions: FakeFunctions
):
    trigger = instance(tmp_path, cloud, functions, deploy_endpoints=True)
    cloud.packages = [ModelPackage("arn:package/1", 1, "", "job")]

    trigger.look_after(3)
    cloud.served = Endpoint("InService", 1)
    trigger.look_after(3)
    trigger.look_after(3)

    assert cloud.deployed == [(1, False)]
    assert trigger.get(3).live == "birds v1"


def test_a_person_may_ask_for_a_training_below_the_threshold(trigger: Trigger, cloud: Bucket, functions: FakeFunctions):
    cloud.annotate(1, 2, 3)
    trigger.hear(webhook(3, action="START_TRAINING"), function=FUNCTION)
    assert functions.called[0]["train"] == {
        "project": 3,
        "forced": True,
        "label_config": webhook(3)["project"]["label_config"],
        "annotations": 3,
    }

    run(trigger, functions)

    assert started(cloud) == ["p3-n3-0"]


def test_a_training_that_was_asked_for_is_not_lost_while_aws_is_away(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions
):
    cloud.annotate(1, 2, 3)
    trigger.hear(webhook(3, action="START_TRAINING"), function=FUNCTION)
    cloud.error = AwsAwayError("S3 is away")

    with pytest.raises(BackendError, match="project 3: the training that was asked for could not be started yet"):
        run(trigger, functions)


def test_any_other_work_that_meets_an_error_is_left_to_the_next_look(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions, caplog: pytest.LogCaptureFixture
):
    trigger.hear(webhook(16), function=FUNCTION)
    cloud.error = AwsAwayError("S3 is away")

    run(trigger, functions)

    assert trigger.get(3).problem == "S3 is away"
    assert "project 3: its labeling interface is not kept: S3 is away" in caplog.text


def test_images_outside_the_bucket_are_not_trained_on_and_it_is_told(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions, caplog: pytest.LogCaptureFixture
):
    cloud.annotate(*range(1, 17))
    body = json.loads(cloud.objects["birds", "annotations/1"])
    body["task"]["data"]["image"] = "/data/upload/1/bird.jpg"
    cloud.objects["birds", "annotations/1"] = json.dumps(body).encode()
    del cloud.objects["birds", "images/2.jpg"]

    trigger.hear(webhook(16), function=FUNCTION)
    run(trigger, functions)

    assert started(cloud) == ["p3-n16-0"]
    assert "task 1 is left out of training: wanted an image in the bucket, got '/data/upload/1/bird.jpg'" in caplog.text
    assert "task 2 is left out of training: there is no object images/2.jpg in birds" in caplog.text


def test_a_webhook_without_payload_has_every_known_project_looked_at(
    trigger: Trigger, cloud: Bucket, functions: FakeFunctions
):
    for project in (3, 5):
        trigger.hear(webhook(1, project=project), function=FUNCTION)
    run(trigger, functions)
    cloud.annotate(*range(1, 17), project=5)

    answer = trigger.hear(recorded("project_webhook_no_payload"), function=FUNCTION)
    run(trigger, functions)

    assert answer == {"status": "noted", "message": "ANNOTATION_CREATED named no project; looking at 2"}
    assert started(cloud) == ["p5-n16-0"]


@pytest.mark.parametrize("name", recorded_names("webhook_*"))
def test_every_recorded_webhook_is_taken(trigger: Trigger, functions: FakeFunctions, name: str):
    body = recorded(name)

    answer = trigger.hear(body, function=FUNCTION)

    assert answer["annotations"] == body["project"]["total_annotations_number"]
    assert [call["train"]["project"] for call in functions.called] == [body["project"]["id"]]  # type: ignore[index]


def test_an_unknown_action_is_ignored_and_one_that_is_none_refused(trigger: Trigger, functions: FakeFunctions):
    assert trigger.hear({"action": "LABEL_LINK_CREATED"}, function=FUNCTION)["status"] == "ignored"
    with pytest.raises(RequestError, match='wanted "action"'):
        trigger.hear({}, function=FUNCTION)
    assert functions.called == []


def test_the_log_has_ids_and_counts_but_nothing_of_a_body(
    trigger: Trigger, functions: FakeFunctions, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG):
        trigger.hear(webhook(13), function=FUNCTION)
        run(trigger, functions)

    assert "'ANNOTATION_CREATED' of project 3 with 13 annotations: waiting" in caplog.text
    assert "PROJECT_TOKEN" not in caplog.text
    assert "PolygonLabels" not in caplog.text


def test_lambda_that_does_not_take_the_call_is_told_to_the_caller(trigger: Trigger, functions: FakeFunctions):
    functions.error = AwsError("Invoke failed (TooManyRequestsException)")

    with pytest.raises(AwsError, match="TooManyRequests"):
        trigger.hear(webhook(16), function=FUNCTION)


def test_a_fault_in_one_project_does_not_keep_the_others_waiting_and_is_no_success(tmp_path: Path, cloud: Bucket):
    settings, states = fakes.settings(tmp_path, deploy_endpoints=True), StateFile(tmp_path / "projects.json")
    cloud.objects |= {("birds", f"ls/projects/{project}/x"): b"" for project in (3, 5)}
    trainer, deployer = FakeTrainer([ZeroDivisionError()]), FakeDeployer()
    rounds = Rounds(trainer=trainer, deployer=deployer, states=states)
    behind = Behind(S3Annotations(settings, store=cloud), rounds)
    trigger = Trigger(settings, states=states, functions=FakeFunctions(), behind=lambda: behind)

    with pytest.raises(BackendError, match="something failed unexpectedly"):
        trigger.look_after()

    assert [project for project, _ in trainer.asked] == deployer.asked == [3, 5]
