"""The publisher: build, sign, publish, refresh, audit."""
