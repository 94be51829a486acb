"""What a person sees of a run: progress while it works, a table at its end, report.json, report.md and figures."""
