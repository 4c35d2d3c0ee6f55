"""Figures in two steps: overlap tables -> tidy table (`tables`), tidy table -> picture and caption (`drawings`)."""
