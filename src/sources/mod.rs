//! Record formats: bytes in, a usage message or a rejection out. Pure; one file per format.
