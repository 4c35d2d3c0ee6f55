"""The paper: an HTML page and a PDF, made from one text that takes its numbers from the run's own tables."""
