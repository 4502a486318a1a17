"""The stages from merged checkpoint to bundle."""
