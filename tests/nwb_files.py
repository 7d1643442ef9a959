"""Small NWB files, for tests of their reader."""

import datetime

import numpy as np
import pytest

pynwb = pytest.importorskip("pynwb", reason="needs pip install -e '.[nwb]'")

SECONDS, TRIAL_S, RATE_HZ = 12.0, 2.0, 8.0
TIERS = ("train", "train", "oracle", "oracle", "none")
TIMES = np.arange(0, SECONDS, 1 / RATE_HZ)  # of responses and behaviour


def film(height=36, width=64, rate=30.0, seconds=SECONDS):
    """Grey levels [T H W] that tell the frame: 3 a frame, plus a gradient."""
    frames = np.arange(int(seconds * rate))
    slope = np.linspace(0, 20, width)[None, None, :]
    return (frames[:, None, None] * 3 % 200 + slope + np.zeros((1, height, 1))).astype(np.uint8)


def write(
    path,
    *,
    images=None,
    rate=30.0,
    timestamps=None,
    places="columns",
    more=None,
    times=TIMES,
    **change,
):
    """A file of three ROIs, five trials of two seconds, responses at 8 Hz.

    Args:
        path: of the file.
        images: the film, see ``film``.
        rate: of the film, in Hz.
        timestamps: of the film, in place of the rate.
        places: of the ROIs: "columns", or the kind of their masks.
        more: a function that adds to the NWBFile.
        times: of responses and behaviour.
        **change: what else differs.
    """
    nwb = pynwb.NWBFile("a session", "id", datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC))
    images = film() if images is None else images
    clock = {"rate": rate} if timestamps is None else {"timestamps": timestamps}
    if change.get("external"):
        images, clock = None, {"external_file": ["x.avi"], "format": "external", "rate": 30.0}
        if int(pynwb.__version__.partition(".")[0]) >= 4:  # which asks for it
            clock["num_samples"] = 9
    if change.get("film", True):
        nwb.add_stimulus(image_series("movie", images, **clock))
    nwb.add_acquisition(responses(nwb, times, places, change))
    for name, values in (("pupil", 40 + times), ("speed", 2 * times)):
        nwb.add_acquisition(time_series(name, values, change.get(f"{name}_times", times)))
    nwb.add_acquisition(time_series("gaze", np.stack([times, -times], axis=1), times))
    if change.get("trials", True):
        add_trials(nwb, change)
    if more:
        more(nwb)
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)
    return path


def image_series(name, images, **clock):
    if images is not None:
        clock["data"] = images
    return pynwb.image.ImageSeries(name=name, unit="levels", **clock)


def time_series(name, values, times=TIMES):
    return pynwb.TimeSeries(name=name, data=values, unit="au", timestamps=times)


def index_series(name, template, shown, times):
    """Images of a template, each from its time until the next; new pynwb reads these only."""
    kind = pynwb.image.IndexSeries
    series = kind.__new__(kind, in_construct_mode=True)
    series.__init__(
        name=name, data=shown, unit="N/A", indexed_timeseries=template, timestamps=times
    )
    series._in_construct_mode = False
    return series


def add_trials(nwb, change):
    """Trials of ``TRIAL_S``; "stops" has the ends of some, "shift" the start of the first."""
    column = change.get("column", "tier")
    nwb.add_trial_column(column, "which trials serve what")
    for i, tier in enumerate(change.get("tiers", TIERS)):
        start = change.get("shift", 0.0) + i * TRIAL_S
        stop = change.get("stops", {}).get(i, start + TRIAL_S)
        nwb.add_trial(start_time=start, stop_time=stop, **{column: tier})


def responses(nwb, times, places, change):
    """Response of ROI n at time t: (n + 1) * t."""
    rois = segmentation(nwb, places, change.get("rois", 3))
    count = len(rois)
    region = rois.create_roi_table_region(region=list(range(count)), description="all")
    data = times[:, None] * np.arange(1, count + 1)
    if change.get("hole"):
        data[4, 0] = np.nan
    if change.get("turned"):
        data = data.T
    if change.get("flat"):
        data = data[:, 0]
    clock = {"timestamps": change.get("response_times", times)}
    if change.get("turned") or change.get("regular"):
        clock = {"rate": RATE_HZ}
    return roi_series("events", data, region, **clock)


def roi_series(name, data, region, **clock):
    return pynwb.ophys.RoiResponseSeries(name=name, data=data, unit="au", rois=region, **clock)


def segmentation(nwb, places, count):
    """ROIs 10, 11, ..., with places as columns or masks."""
    channel = pynwb.ophys.OpticalChannel(name="green", description="GCaMP", emission_lambda=510.0)
    plane = nwb.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="V1",
        device=nwb.create_device(name="microscope"),
        excitation_lambda=920.0,
        indicator="GCaMP",
        location="V1",
    )
    rois = pynwb.ophys.PlaneSegmentation(description="ROIs", imaging_plane=plane, name="rois")
    if places == "columns":
        for name in "xyz":
            rois.add_column(name=name, description="micrometres")
    for n in range(count):
        columns = {"x": 1.0 * n, "y": 2.0 * n, "z": 3.0 * n} if places == "columns" else {}
        rois.add_roi(id=10 + n, **roi_mask(places, n), **columns)
    module = nwb.create_processing_module(name="ophys", description="two-photon")
    module.add(pynwb.ophys.ImageSegmentation(plane_segmentations=[rois]))
    return rois


def roi_mask(places, n):
    """Two pixels: x is 4, y is n and n + 1."""
    if places == "pixel_mask":
        return {"pixel_mask": [(4, n, 1.0), (4, n + 1, 1.0)]}
    if places == "voxel_mask":
        return {"voxel_mask": [(4, n, 0, 1.0)]}
    image = np.zeros((8, 8))
    image[n : n + 2, 4] = 1
    return {"image_mask": image}
