"""paper_repro.md, toy/FINDINGS.md and the HTML page, written from templates and committed results."""
