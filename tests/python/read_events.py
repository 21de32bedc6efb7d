"""Reads a run with TensorBoard's own code and prints everything in it as JSON; for tests/tensorboard.rs.

`stored` is what stands in the files, `shown` what TensorBoard makes of it for its pages. Numbers are printed as the bits
of a double, so that NaN, infinities and the last digit survive.
"""

import hashlib
import io
import json
import struct
import sys

from PIL import Image
from tensorboard import version
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.util import tensor_util


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def histogram(value):
    numbers = {name: bits(getattr(value, name)) for name in ("min", "max", "num", "sum", "sum_squares")}
    return numbers | {"bucket_limit": [bits(v) for v in value.bucket_limit], "bucket": [bits(v) for v in value.bucket]}


def image(event):
    picture = Image.open(io.BytesIO(event.encoded_image_string))
    picture.load()
    return {
        "width": event.width,
        "height": event.height,
        "format": picture.format,
        "mode": picture.mode,
        "size": picture.size,
        "pixels_sha256": hashlib.sha256(picture.tobytes()).hexdigest(),
        "png_sha256": hashlib.sha256(event.encoded_image_string).hexdigest(),
    }


def stored(run):
    events = event_accumulator.EventAccumulator(run, event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
    tags = events.Tags()
    return {
        "scalars": {tag: [[e.step, bits(e.value)] for e in events.Scalars(tag)] for tag in tags["scalars"]},
        "histograms": {
            tag: [[e.step, histogram(e.histogram_value)] for e in events.Histograms(tag)] for tag in tags["histograms"]
        },
        "images": {tag: [[e.step, image(e)] for e in events.Images(tag)] for tag in tags["images"]},
    }


def shown(run):
    guidance = plugin_event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE
    events = plugin_event_accumulator.EventAccumulator(run, guidance).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
        values = [[e.step, value(plugin, tensor_util.make_ndarray(e.tensor_proto))] for e in events.Tensors(tag)]
        found.setdefault(plugin, {})[tag] = values
    return found


def value(plugin, array):
    if plugin == "scalars":
        return bits(array.item())
    if plugin == "histograms":
        return [[bits(v) for v in row] for row in array.tolist()]
    if plugin == "images":
        width, height, png = array.tolist()
        return {"width": int(width), "height": int(height), "png_sha256": hashlib.sha256(png).hexdigest()}
    if plugin == "text":
        return array.item().decode()
    raise ValueError(f"a tag of the plugin {plugin}")


run = sys.argv[1]
json.dump({"version": version.VERSION, "stored": stored(run), "shown": shown(run)}, sys.stdout)
