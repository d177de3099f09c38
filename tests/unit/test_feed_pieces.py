"""The feed's parts without I/O: pacing, states, multipart, messages, mark, slates."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass.feed.capture import Frame
from sightglass.feed.channel import MAX_LINE
from sightglass.feed.job import (
    MAX_CAMERAS,
    BadMessageError,
    Camera,
    CameraReport,
    Job,
    KeyFrame,
    View,
    parse_job,
    parse_line,
    parse_order,
    report_line,
)
from sightglass.feed.mark import BAR, draw_mark, mark_text
from sightglass.feed.multipart import MAX_PART, Multipart, SourceError, boundary_of
from sightglass.feed.pace import STALE_S, Pacer, state_of
from sightglass.feed.picture import Picture
from sightglass.feed.slate import slate, slate_text
from tests.unit.feed_parts import number_of, numbered

CAMERA = {
    "name": "cam1",
    "source": "http://127.0.0.1:8000/mjpeg/cam1",
    "publish": "rtsp://feed:pw@100.64.0.1:8554/cam1",
}
JOB = {"window": "w-1", "width": 640, "height": 360, "fps": 10, "block": 32, "cameras": [CAMERA]}


@pytest.mark.requirement("F2")
@given(delays=st.lists(st.floats(0, 3), max_size=60))
def test_late_slots_are_dropped_and_never_caught_up(delays: list[float]) -> None:
    """However late frames get: no two within one slot, so never more than fps a second, and the grid stays."""
    pacer, now, taken = Pacer(10, 100.0), 100.0, []
    for delay in delays:
        now += pacer.wait(now)
        assert pacer.wait(now) <= 1e-9
        pacer.take(now)
        taken.append(now)
        assert 0 < pacer.wait(now) <= 0.1 + 1e-9
        now += delay
    slots = [int((at - 100.0) * 10 + 1e-6) for at in taken]
    assert len(set(slots)) == len(slots)


@pytest.mark.requirement("F3")
@given(show=st.booleans(), age=st.none() | st.floats(0, 100))
def test_only_a_young_frame_that_may_be_shown_is_live(show: bool, age: float | None) -> None:
    """`live` means shown, there, and at most two seconds old."""
    assert (state_of(show, age) == "live") == (show and age is not None and age <= STALE_S)


@pytest.mark.parametrize("lengths", [True, False])
@given(
    bodies=st.lists(st.binary(min_size=1, max_size=200).filter(lambda b: b"--frame" not in b), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_parts_come_out_whole_however_the_stream_is_cut(lengths: bool, bodies: list[bytes], cuts: list[int]) -> None:
    """Any cutting of the stream gives the parts that were put in, with Content-Length or without."""
    stream = b"preamble\r\n"
    for body in bodies:
        length = f"Content-Length: {len(body)}\r\n".encode() if lengths else b""
        stream += b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + body + b"\r\n"
    stream += b"--frame--\r\n"
    parser, parts, index = Multipart("--frame"), [], 0
    while stream:
        size = cuts[index % len(cuts)]
        parts += parser.feed(stream[:size])
        stream, index = stream[size:], index + 1
    assert parts == bodies


def test_a_part_over_its_bound_is_refused() -> None:
    """A source cannot make the feed hold more than one part's bound, announced or not."""
    with pytest.raises(SourceError, match=f"{MAX_PART} bytes, not 999999999"):
        Multipart("x").feed(b"--x\r\nContent-Length: 999999999\r\n\r\n")
    with pytest.raises(SourceError, match=f"{MAX_PART} bytes"):
        Multipart("x").feed(b"--x\r\n\r\n" + bytes(MAX_PART + 1))
    with pytest.raises(SourceError, match="no part begins"):
        Multipart("x").feed(bytes(9000))
    with pytest.raises(SourceError, match="Content-Type must be multipart"):
        boundary_of("image/jpeg")


def test_the_job_of_the_agent_is_taken() -> None:
    """The agreed first message becomes a job, and its text shows no publish address."""
    job = parse_job(parse_line(json.dumps({"job": JOB}).encode()))
    assert job == Job("w-1", 640, 360, 10, 32, (Camera(**CAMERA),))
    assert "pw" not in repr(job)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"window": "x"}, "job.window must match .* not 'x'"),
        ({"width": 641}, "job.width must be an even number from 160 to 1920, not 641"),
        ({"fps": 60}, "job.fps must be a whole number from 1 to 30, not 60"),
        ({"block": 1}, "job.block must be a whole number from 8 to 128, not 1"),
        ({"block": 31}, "job.block must leave at most 20 by 12 cells, not 31"),
        ({"width": 1280, "height": 720}, "job.block must leave at most 20 by 12 cells, not 32"),
        ({"block": True}, "job.block"),
        ({"cameras": []}, "job.cameras must be a list of 1 to 4"),
        ({"cameras": [CAMERA, CAMERA]}, "job.cameras must have different names"),
        ({"cameras": [CAMERA | {"name": "Cam 1"}]}, r"job.cameras\[0\].name must match"),
        ({"cameras": [CAMERA | {"source": "file:///etc/passwd"}]}, r"job.cameras\[0\].source must be http://"),
        (
            {"cameras": [CAMERA | {"publish": "rtsp://100.64.0.1/cam1"}]},
            r"job.cameras\[0\].publish must be rtsp://USER",
        ),
        ({"more": 1}, "job must have exactly the keys"),
    ],
)
def test_a_bad_job_is_refused_by_field_rule_and_value(change: dict[str, object], says: str) -> None:
    """Each broken rule of a job gives one sentence that names it, and never the credential."""
    with pytest.raises(BadMessageError, match=says) as caught:
        parse_job({"job": JOB | change})
    assert "pw" not in str(caught.value)


def test_orders_are_exact() -> None:
    """Only the two agreed orders pass; anything else ends the feed."""
    assert parse_order({"show": False, "seq": 3}) == View(False, 3)
    assert parse_order({"keyframe": "cam1"}) == KeyFrame("cam1")
    for bad in ({}, {"show": False}, {"show": 0, "seq": 1}, {"show": True, "seq": 0}, {"keyframe": 1}, {"exec": "x"}):
        with pytest.raises(BadMessageError):
            parse_order(bad)
    for line in (b"[]", b"\xff", b"{", b"1"):
        with pytest.raises(BadMessageError):
            parse_line(line)


def test_a_job_and_a_report_of_all_cameras_fit_into_a_line() -> None:
    """The longest that configuration and window allow: 4096 bytes end the channel, and the window with it."""
    names = [f"{i}" + "x" * 31 for i in range(MAX_CAMERAS)]
    report = CameraReport(10**9, "connecting")
    assert len(report_line(dict.fromkeys(names, report), View(False, 2**50))) < MAX_LINE / 2
    cameras = [
        {"name": n, "source": "http://" + "y" * 293, "publish": f"rtsp://feed:{'z' * 32}@100.100.100.100:65535/{n}"}
        for n in names
    ]
    longest = {"job": JOB | {"window": "w-" + "0" * 12, "width": 1280, "block": 128, "cameras": cameras}}
    assert parse_job(longest).cameras[-1].name == names[-1], "the control: it is a job"
    assert len(json.dumps(longest)) < MAX_LINE


@pytest.mark.requirement("P4")
@given(text=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=200))
def test_the_mark_stays_in_its_bar(text: str) -> None:
    """Whatever the text: nothing below the top 18 rows changes, so the site's own strip and the mosaic stay."""
    picture = np.full((360, 640, 3), 77, np.uint8)
    draw_mark(picture, text)
    assert BAR <= 18
    assert (picture[BAR:] == 77).all()


def test_the_mark_names_camera_window_time_and_number() -> None:
    """The line in the picture says what, when in UTC, and which frame."""
    assert mark_text("cam1", "w-1", 1792300000.25, 7) == "cam1  w-1  2026-10-18 05:06:40.250 UTC  #7"
    assert mark_text("cam1", "w-1", None, 8) == "cam1  w-1  no picture  #8"


def planes_to_bgr(
    planes: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420).astype(np.uint8)


def jpeg(number: int) -> bytes:
    return bytes(cv2.imencode(".jpg", numbered(number))[1].tobytes())


@pytest.mark.requirement("F3")
def test_a_frame_that_ages_becomes_a_slate_and_never_comes_back() -> None:
    """The same source frame is shown while young; two seconds later the picture is the slate, not the last frame."""
    job = parse_job({"job": JOB})
    picture, frame = Picture(job, "cam1"), Frame(jpeg(777), 1, 50.0, 1792300000.0)
    state, planes = picture.draw(True, frame, 50.1, 1)
    assert (state, number_of(planes_to_bgr(planes))) == ("live", 777)
    state, planes = picture.draw(True, frame, 52.1, 2)
    expected = slate(slate_text("stale", "cam1"), 640, 360)
    assert state == "stale"
    assert np.abs(planes_to_bgr(planes)[BAR:].astype(int) - expected[BAR:]).max() < 8
    state, planes = picture.draw(True, Frame(b"\xff\xd8 torn", 2, 52.2, 0.0), 52.2, 3)
    assert state == "stale", "a frame that cannot be decoded must not make the old picture young"


@pytest.mark.requirement("P4")
def test_suspended_shows_the_blank_slate() -> None:
    """With show=false a fresh frame gives the blank slate, and the picture comes back with show=true."""
    picture, frame = Picture(parse_job({"job": JOB}), "cam1"), Frame(jpeg(5), 1, 50.0, 0.0)
    state, planes = picture.draw(False, frame, 50.0, 1)
    assert (state, number_of(planes_to_bgr(planes))) == ("blank", None)
    assert picture.draw(True, frame, 50.1, 2)[0] == "live"


@pytest.mark.parametrize("size", [(640, 360), (320, 180), (1280, 720), (1920, 1080), (1000, 700)])
def test_sources_of_any_size_become_the_ordered_size(size: tuple[int, int]) -> None:
    """Smaller, equal, larger and odd sources all come out at 640 x 360, redacted, with their number readable."""
    data = cv2.imencode(".jpg", cv2.resize(numbered(0x5A3C), size, interpolation=cv2.INTER_AREA))[1].tobytes()
    _, planes = Picture(parse_job({"job": JOB}), "cam1").draw(True, Frame(data, 1, 1.0, 0.0), 1.0, 1)
    assert planes.shape == (540, 640)
    assert number_of(planes_to_bgr(planes)) == 0x5A3C


@pytest.mark.requirement("P4")
def test_what_is_published_is_redacted() -> None:
    """Below the mark each cell of a noisy source's published luma has one value: nothing goes out unredacted."""
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    frame = Frame(cv2.imencode(".jpg", noise)[1].tobytes(), 1, 1.0, 0.0)
    _, planes = Picture(parse_job({"job": JOB}), "cam1").draw(True, frame, 1.0, 1)
    luma = planes[:360]
    for top in range(32, 360, 16):
        for left in range(0, 640, 16):
            assert np.ptp(luma[top : top + 16, left : left + 16]) == 0
