"""Draws docs/demo.png from what `make demo` left.

.venv/bin/python docs/demo_figure.py
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segbench.data.classes import read_classes

STUDY = Path("runs/demo")
NETWORKS = ("unet", "deeplab_resnet18", "deeplab_vgg11", "deeplab_mobilenetv3")
TITLES = ("scene", "truth", "UNet", "DeepLab ResNet18", "DeepLab VGG11", "DeepLab MobileNetV3")
SCENES = ("scene_0063", "scene_0071", "scene_0076")
CELL, GAP, TITLE = 200, 6, 22


def main() -> None:
    classes = read_classes(Path("data/scenes/classes.json"))
    palette = np.array([c.color for c in classes], np.uint8)
    rows = []
    for name in SCENES:
        masks = [STUDY / "test" / "truth" / f"{name}.png"]
        masks += [STUDY / n / "test" / "predictions" / f"{name}.png" for n in NETWORKS]
        picture = np.asarray(Image.open(STUDY / "test" / "image" / f"{name}.jpg"))
        cells = [picture, *(palette[np.asarray(Image.open(mask))] for mask in masks)]
        row = [cv2.resize(cell, (CELL, CELL), interpolation=cv2.INTER_AREA) for cell in cells]
        gap = np.full((CELL, GAP, 3), 255, np.uint8)
        rows.append(np.hstack([part for cell in row for part in (cell, gap)][:-1]))
        rows.append(np.full((GAP, rows[0].shape[1], 3), 255, np.uint8))
    sheet = np.vstack(rows)
    page = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + 2 * TITLE), "white")
    page.paste(Image.fromarray(sheet), (0, TITLE))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=14)
    for i, title in enumerate(TITLES):
        draw.text((i * (CELL + GAP) + 4, 2), title, fill="black", font=font)
    for i, c in enumerate(classes):
        x, y = i * 140 + 4, page.height - TITLE
        draw.rectangle((x, y + 4, x + 14, y + 17), fill=c.color, outline="black")
        draw.text((x + 20, y + 1), c.name, fill="black", font=font)
    page.save("docs/demo.png", optimize=True)


if __name__ == "__main__":
    main()
