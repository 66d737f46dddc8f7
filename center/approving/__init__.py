"""Four eyes (双人复核): what one operator proposes and another one approves, before money moves by hand."""
