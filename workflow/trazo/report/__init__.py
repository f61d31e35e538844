"""Tables, figures and the report page: artifacts and metrics in, files for people out."""
