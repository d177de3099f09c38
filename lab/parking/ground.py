"""Where things stand: a flat ground seen by a camera 1.3 m above it.

x is metres to the right of the camera, z metres away from it; the picture has 1280 x 720 pixels.
"""

HORIZON, CENTRE = 250, 620
_FOCUS, _CAMERA_HEIGHT = 1450.0, 1.3

ROAD_LEFT, ROAD_RIGHT = -6.2, -0.1
LANE_LEFT, LANE_RIGHT = 0.5, 2.75
TRAFFIC_X, RECEDING_X, LANE_X = -1.65, -4.65, 1.6
GATE_Z, POST_X, REST_X = 6.0, 0.3, 2.72
CROSSING_NEAR, CROSSING_FAR = 40.0, 62.0


def scale(z: float) -> float:
    """Pixels per metre at the distance z."""
    return _FOCUS / z


def pixel(x: float, z: float, height: float = 0.0) -> tuple[float, float]:
    """The pixel of a point `height` metres above the ground."""
    unit = scale(z)
    return CENTRE + x * unit, HORIZON + (_CAMERA_HEIGHT - height) * unit
