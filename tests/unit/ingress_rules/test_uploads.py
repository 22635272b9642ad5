"""Files among the parameters of a call become URLs, or are refused with the parameter's name."""

import base64

import pytest
from pydantic import JsonValue

from penstock.bodies import decode_body
from penstock.definitions.models import FieldType, Parameter, Workflow
from penstock.definitions.parameters import ParameterProblem
from penstock.things.files import file_id
from penstock_ingress.rules.uploads import MAX_UPLOADS, Uploads

WORKFLOW = Workflow(
    name="take",
    parameters=(
        Parameter(name="file", type=FieldType("file")),
        Parameter(name="images", type=FieldType("image", is_list=True)),
        Parameter(name="note", type=FieldType("any")),
    ),
)
MULTIPART = "multipart/form-data; boundary=b"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_file_becomes_its_url_and_is_kept_with_its_name_and_type() -> None:
    uploads = Uploads("//here/version-test")
    value: JsonValue = {"filename": "../a b.pdf", "contents": encoded(b"content")}
    url = uploads.replace(WORKFLOW, {"file": value, "note": value})
    kept = uploads.files[0]
    assert url == {"file": f"//here/version-test/fileupload/{kept.id}/a%20b.pdf", "note": value}
    assert (kept.name, kept.content_type, kept.content) == ("a b.pdf", "application/pdf", b"content")
    assert file_id(url["file"]) == kept.id


def test_lists_may_mix_files_and_urls() -> None:
    uploads = Uploads("https://example.com")
    data_url = f"data:image/png;base64,{encoded(b'png')}"
    given: JsonValue = ["//cdn.example.com/a.png", {"contents": data_url}, None]
    replaced = uploads.replace(WORKFLOW, {"images": given})["images"]
    kept = uploads.files[0]
    assert replaced == ["//cdn.example.com/a.png", f"https://example.com/fileupload/{kept.id}/file", None]
    assert (kept.content_type, kept.content) == ("image/png", b"png")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"contents": "not base64!"}, "not base64"),
        ({"contents": "é"}, "not base64"),
        ({"contents": 1}, "base64"),
        ({"contents": "", "filename": 1}, "name as text"),
        ({"contents": "", "private": "yes"}, "`private` is true or false"),
        ({"contents": "", "size": 1}, "'size'"),
    ],
)
def test_what_is_not_a_file_is_refused_with_its_parameter(value: JsonValue, why: str) -> None:
    with pytest.raises(ParameterProblem, match=f"Invalid value for parameter file: .*{why}") as refused:
        Uploads("//here").replace(WORKFLOW, {"file": value})
    assert refused.value.code == "INVALID_DATA"


def test_a_call_has_only_so_many_files() -> None:
    many: JsonValue = [{"contents": ""}] * (MAX_UPLOADS + 1)
    with pytest.raises(ParameterProblem, match="100 files"):
        Uploads("//here").replace(WORKFLOW, {"images": many})


def test_a_type_that_could_break_a_header_is_not_kept() -> None:
    uploads = Uploads("//here")
    uploads.replace(WORKFLOW, {"file": {"contents": "", "filename": "a", "content_type": "text/x\r\nX-Evil: 1"}})
    assert uploads.files[0].content_type == "application/octet-stream"


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def test_files_of_a_multipart_form_are_read_as_the_objects_of_json() -> None:
    named = b'Content-Disposition: form-data; name="file"; filename="a.bin"'
    body = multipart(
        named + b"\r\nContent-Type: application/x-thing; charset=nonsense\r\n\r\n\xff\x00",
        b'Content-Disposition: form-data; name="name"\r\n\r\nAda',
        b'Content-Disposition: form-data; name="chosen"; filename=""\r\n\r\n',
        b'Content-Disposition: form-data; name="files"; filename="1"\r\n\r\n1',
        b'Content-Disposition: form-data; name="files"; filename="2"\r\n\r\n2',
    )
    assert decode_body(body, MULTIPART, takes_files=True) == {
        "file": {"filename": "a.bin", "contents": encoded(b"\xff\x00"), "content_type": "application/x-thing"},
        "name": "Ada",
        "files": [{"filename": "1", "contents": "MQ=="}, {"filename": "2", "contents": "Mg=="}],
    }


@pytest.mark.parametrize(
    "text",
    [
        "https://x/fileupload/nonsense/a",
        "x/fileupload/01234567-89ab-4def-8123-456789abcdef/a",
        "//x/other/01234567-89ab-4def-8123-456789abcdef/a",
        "//x/fileupload/01234567-89ab-4def-8123-456789abcdef/a/b",
    ],
)
def test_other_urls_are_not_taken_for_files(text: str) -> None:
    assert file_id(text) is None
