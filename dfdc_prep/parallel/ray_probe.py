"""A program that finds out whether a Ray cluster accepts connections without a token.

It runs in a process of its own because Ray reads the token once per process.
"""

import sys

#: Exit code if the cluster asks for a token.
ASKS_FOR_TOKEN = 3


def main() -> None:
    """Exit with ASKS_FOR_TOKEN, or with 0 if the cluster answers; sys.argv[1] is its address."""
    import ray
    from ray._private import services

    address = services.canonicalize_bootstrap_address_or_die(sys.argv[1])
    try:
        client = ray._raylet.GcsClient(address=address)  # type: ignore[attr-defined]
        client.internal_kv_get(b"cluster_metadata", b"cluster")
    except ray.exceptions.AuthenticationError:
        sys.exit(ASKS_FOR_TOKEN)


if __name__ == "__main__":
    main()
