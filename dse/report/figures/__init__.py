"""Figures of studies: one file per figure, and what they share."""
