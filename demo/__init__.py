"""The main job, told with real output: `make demo`."""
