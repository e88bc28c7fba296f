//! One self-contained file of a receipt and what is needed to re-execute it: a CAR archive.
