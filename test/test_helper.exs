# A test that waits for an event that never comes fails after ten minutes: it must not depend on the speed of
# the machine.
#
# Left out unless included (`mix test --include build`; `scripts/test --all` includes all):
#
# - build: builds other projects with Chunker as a dependency, which takes minutes and needs rebar3;
# - kill: kills VMs that use a store, which takes half a minute;
# - nix: compares with the programs of Nix.
ExUnit.start(timeout: 600_000, exclude: [:build, :kill, :nix])
