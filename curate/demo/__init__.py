"""The tour on drawn scenes: ``scenes`` draws, ``layouts`` writes raw downloads, ``tour`` goes through every step."""
