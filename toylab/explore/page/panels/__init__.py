"""The panels of the page, each a set of models that is made once and filled with data.

runs      a table, a row a run · curves    measures against the step · sweep    cells and parallel coordinates
views     tabs with the pictures of views · claims    the page's claims with their verdicts
*.js      how runs, curves and sweep are linked: in the browser alone, live and in an exported file
"""
