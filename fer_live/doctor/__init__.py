"""python -m fer_live.doctor: diagnoses the installation and suggests fixes. Imports only the standard library."""
