//! The README's claims are run: what it shows is what is printed.
