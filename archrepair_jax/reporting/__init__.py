"""What a person sees of a run: progress while it works, a table at its end, reports as JSON, text and page, figures."""
