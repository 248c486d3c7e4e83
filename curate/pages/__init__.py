"""Pages that show what one room made with the drawing of another: one self-contained HTML file each."""
