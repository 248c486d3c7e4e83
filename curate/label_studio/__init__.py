"""Label Studio's own forms, for whoever writes them: regions, and the page that people see. No server is spoken to."""
