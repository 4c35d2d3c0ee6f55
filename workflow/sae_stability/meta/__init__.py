"""SAEs on decoder rows of SAEs, and what they are held against."""
