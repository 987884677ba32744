# The README's commands on a bare Debian. About 6 GB; text and runs are best mounted:
#   docker build -t evomoe .
#   docker run --rm evomoe make demo
#   docker run --rm -v "$PWD/runs:/runs" -v "$PWD/data-bin:/data-bin" evomoe evomoe train /data-bin --save-dir /runs/a ...
FROM debian:bookworm

# `make` installs what it needs (scripts/setup.sh).
RUN apt-get update && apt-get install -y --no-install-recommends make ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /evomoe
COPY . .
RUN make install && rm -rf /var/lib/apt/lists/*
CMD ["evomoe", "--help"]
