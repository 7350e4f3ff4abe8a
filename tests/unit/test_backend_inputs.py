"""What people give a set-up is checked before anything is made."""

from pathlib import Path

import pytest

from backend.errors import BackendError, LabelConfigError
from backend.inputs import (
    backend_url,
    http_url,
    key_prefix,
    label_names,
    labeling_interface,
    monthly_budget,
    networks,
    project_title,
    read_labeling_interface,
    region_name,
)
from backend.regions import parse_label_config
from tests.fakes import BIRDS, LABELS


def test_labels_may_have_any_letters_and_count_once():
    names = label_names(" R&D, Wheel ,5\" <rim>,it's, Wheel,")

    config = parse_label_config(labeling_interface(names))

    assert config.labels == ("R&D", "Wheel", '5" <rim>', "it's")
    assert config.image_field == "image"


def test_more_labels_than_colours_are_all_there():
    names = [f"part {number}" for number in range(30)]

    assert parse_label_config(labeling_interface(names)).labels == tuple(names)


def test_no_labels_are_refused():
    with pytest.raises(LabelConfigError, match="--labels"):
        label_names(" , ,")


def test_a_file_is_a_project_s_whole_interface(tmp_path: Path):
    file = tmp_path / "birds.xml"
    file.write_text(BIRDS, encoding="utf-8")

    assert parse_label_config(read_labeling_interface(file)).labels == LABELS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param(b"<View", "not readable XML", id="no XML"),
        pytest.param(b"\xff\xfe\x00", "decode", id="no text"),
        pytest.param(b"<View><Image name='i' value='$image'/></View>", "exactly one <PolygonLabels>", id="no polygons"),
        pytest.param(
            b"<View><Text name='t'/><PolygonLabels name='l' toName='t'><Label value='a'/></PolygonLabels></View>",
            'wanted <Image name="t">',
            id="polygons on text",
        ),
    ],
)
def test_an_interface_that_cannot_be_trained_on_is_named_with_its_file(
    tmp_path: Path, content: bytes | None, words: str
):
    file = tmp_path / "interface.xml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(LabelConfigError, match=r"interface\.xml") as caught:
        read_labeling_interface(file)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:9090",
        "https://backend.example.com/sub/",
        "http://127.0.0.1:9090",
        "http://[::1]:9090",
        "http://backend.internal:9090",
    ],
)
def test_label_studio_sends_events_to_these_addresses(url: str):
    assert backend_url(url) == url.rstrip("/")


def test_a_host_name_without_a_dot_is_refused_with_a_way_out():
    with pytest.raises(BackendError, match=r"no events to 'backend', .* such as backend\.internal"):
        backend_url("http://backend:9090")


@pytest.mark.parametrize(
    "text",
    ["", "backend.internal:9090", "ftp://localhost", "http://", "http://localhost:0", "http://localhost:x", "http://[::1",
     "http://localhost?x=1", "http://localhost#x", "http://me:secret@localhost:9090"],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused_without_showing_it(text: str):
    with pytest.raises(BackendError, match="--public: wanted an address like") as caught:
        http_url(text, "--public")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "prefix"), [("images", "images/"), ("/a/b/", "a/b/"), ("sagemaker-images/", "sagemaker-images/")]
)
def test_a_prefix_is_a_folder(text: str, prefix: str):
    assert key_prefix(text, "--images-prefix", own="sagemaker") == prefix


@pytest.mark.parametrize("text", ["", "/", "sagemaker", "sagemaker/", "a/"])
def test_a_prefix_that_has_the_backend_s_own_objects_in_it_is_refused(text: str):
    with pytest.raises(BackendError, match="--images-prefix: wanted a folder"):
        key_prefix(text, "--images-prefix", own="a/sagemaker" if text == "a/" else "sagemaker")


def test_a_title_is_kept_as_label_studio_keeps_it():
    assert project_title(" Bird parts ") == "Bird parts"


@pytest.mark.parametrize("title", ["", " ab ", "x" * 51])
def test_a_title_that_label_studio_would_refuse_is_refused_before_anything_is_made(title: str):
    with pytest.raises(BackendError, match="--title: wanted 3 to 50 characters"):
        project_title(title)


def test_networks_are_written_as_such_whatever_address_in_them_was_given():
    assert networks(" 203.0.113.7/24, 198.51.100.1,2001:DB8::1/32 ") == "203.0.113.0/24,198.51.100.1,2001:db8::/32"
    assert networks("") == ""


@pytest.mark.parametrize("text", ["203.0.113.7/40", "::::", "203.0.113.7,,", "everybody"])
def test_what_is_no_network_is_refused(text: str):
    with pytest.raises(BackendError, match="--allowed-ips: wanted addresses or networks"):
        networks(text)


@pytest.mark.parametrize(("text", "written"), [("0", "0"), ("50", "50"), ("12.5", "12.50"), ("123456.78", "123456.78")])
def test_a_budget_is_written_to_the_cent(text: str, written: str):
    assert monthly_budget(text) == written


@pytest.mark.parametrize("text", ["nan", "-5", "inf", "0.001", "2e6", "much", ""])
def test_what_is_no_budget_is_refused(text: str):
    with pytest.raises(BackendError, match="--budget: wanted US dollars"):
        monthly_budget(text)


@pytest.mark.parametrize("name", ["eu-west1", "Frankfurt", "", "eu-west-"])
def test_what_is_not_called_as_regions_are_is_refused(name: str):
    with pytest.raises(BackendError, match="AWS_REGION: wanted a region"):
        region_name(name)


@pytest.mark.parametrize("name", ["eu-west-1", "us-gov-east-1", "us-isob-east-1", "ap-southeast-7"])
def test_regions_of_every_partition_are_taken(name: str):
    assert region_name(name) == name
