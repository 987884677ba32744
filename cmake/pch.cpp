// The precompiled header is built with this file; it has no code of its own.
