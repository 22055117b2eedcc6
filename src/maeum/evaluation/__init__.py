"""Scores and calibration: pure functions of predictions."""
