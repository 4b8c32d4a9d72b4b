"""Segment an image with ONNX Runtime alone: ``python example.py IMAGE OUT.png``."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
image = np.asarray(Image.open(sys.argv[1]).convert("RGB"))  # any size, values 0..255
(logits,) = session.run(None, {"images": image.transpose(2, 0, 1)[None]})
ids = logits[0].argmax(0).astype(np.uint8)
result = Image.fromarray(ids).convert("P")
result.putpalette([value for one in classes for value in one["color"]])
result.save(sys.argv[2])
for one in classes:
    print(f"{one['name']}: {(ids == one['id']).mean():.1%}")
