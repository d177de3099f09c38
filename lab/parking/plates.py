"""Number plates in the European form, of towns and numbers that nobody drives."""

import random

import cv2
import numpy as np

from .sprites import Picture

WIDTH, HEIGHT = 760, 200


def text(rng: random.Random) -> str:
    """A made-up number, like `QX FK 4831`: no district has a name that begins with Q or X."""
    letters = "ABCDEFHKLMNPRSTUVWXYZ"
    return (
        f"{rng.choice('QX')}{rng.choice(letters)} {rng.choice(letters)}{rng.choice(letters)} {rng.randint(1000, 9999)}"
    )


def draw(number: str) -> Picture:
    """The plate as a picture of 760 x 200 pixels."""
    plate = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    cv2.rectangle(plate, (0, 0), (WIDTH - 1, HEIGHT - 1), (25, 25, 25), 9)
    cv2.rectangle(plate, (9, 9), (84, HEIGHT - 10), (150, 60, 10), -1)
    for index in range(12):
        angle = index * np.pi / 6
        cv2.circle(plate, (round(47 + 22 * np.sin(angle)), round(62 - 22 * np.cos(angle))), 4, (40, 220, 250), -1)
    cv2.putText(plate, "D", (26, 172), cv2.FONT_HERSHEY_DUPLEX, 1.9, (245, 245, 245), 5, cv2.LINE_AA)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, 15
    (wide, tall), _ = cv2.getTextSize(number, font, 4.0, thickness)
    line = np.full((tall + 60, wide + 40, 3), 245, np.uint8)
    cv2.putText(line, number, (20, tall + 30), font, 4.0, (20, 20, 20), thickness, cv2.LINE_AA)
    plate[22 : HEIGHT - 22, 98 : WIDTH - 18] = cv2.resize(
        line, (WIDTH - 116, HEIGHT - 44), interpolation=cv2.INTER_AREA
    )
    return plate
