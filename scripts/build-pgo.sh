#!/usr/bin/env bash
# scripts/build-pgo.sh [--bolt] [--native] [--rounds N]: builds the native library with profile-guided optimization, checks that
# the profile was used, and compares the result with the plain build in the same run. Leaves target/pgo/chunker_nif.so for
# CHUNKER_NIF_PATH.
#
#   --bolt      also reorders the machine code with BOLT, by a second profile: target/pgo/chunker_nif-bolt.so
#   --native    also compares with a plain build for this processor (-C target-cpu=native)
#   --rounds N  rounds of the comparison. Default: 5; 0 for none
#
# Needs llvm-profdata of rustc's LLVM version or newer, which `scripts/setup --pgo` installs.
set -euo pipefail
unset CDPATH

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:${CARGO_HOME:-${HOME-}/.cargo}/bin
export LC_ALL=${LC_ALL:-C.UTF-8}
export MIX_ENV=prod
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CHUNKER_NIF_PATH

bolt=false native=false rounds=5
while (($#)); do
  case $1 in
    --bolt) bolt=true ;;
    --native) native=true ;;
    --rounds)
      rounds=${2:?--rounds needs a number}
      shift
      ;;
    *)
      sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
      exit 2
      ;;
  esac
  shift
done

die() {
  echo "scripts/build-pgo.sh: $*" >&2
  exit 1
}

rustc=$(rustc -vV)
host=$(sed -n 's/^host: //p' <<<"$rustc")
llvm=$(sed -n 's/^LLVM version: \([0-9]*\).*/\1/p' <<<"$rustc")
[[ $host == *linux* ]] || die "is written for Linux, and this is $host"

# llvm_tool NAME ADVICE: the path of a tool that can read the output of this rustc. The profile format changes
# with LLVM's versions, and older tools reject newer profiles.
llvm_tool() {
  local candidate found
  for candidate in "$(rustc --print sysroot)/lib/rustlib/$host/bin/$1" "$1-$llvm" "$1"; do
    command -v "$candidate" >/dev/null || continue
    found=$("$candidate" --version | sed -n 's/.*LLVM version \([0-9]*\).*/\1/p' | head -n 1)
    if ((${found:-0} >= llvm)); then
      command -v "$candidate"
      return
    fi
  done
  die "$1 of LLVM $llvm or newer, which this rustc is built with, was not found. $2"
}

profdata=$(llvm_tool llvm-profdata "scripts/setup --pgo installs it, from rustup (component llvm-tools) or as Debian's llvm-$llvm.")
if $bolt; then
  llvm_bolt=$(llvm_tool llvm-bolt "It is in Debian's package bolt-$llvm.")
  strip=$(llvm_tool llvm-strip "It comes with llvm-profdata.")
fi
mkdir -p target/pgo
work=$PWD/target/pgo
profiles=$work/profiles
rm -rf "$profiles"
mkdir "$profiles"

# build NAME FLAGS: a release build with these flags for rustc, as $work/NAME.so. With --target, the flags
# apply only to code that runs in the VM, not to build scripts.
build() {
  echo "== building: $1" >&2
  RUSTFLAGS=$2 cargo build --release --locked -p chunker_nif --target "$host" --target-dir "$work/$1-target"
  cp "$work/$1-target/$host/release/libchunker_nif.so" "$work/$1.so"
}

# at_work NAME SEED ROUNDS: runs the workload with $work/NAME.so, in a separate build folder.
at_work() {
  local -x CHUNKER_NIF_PATH=$work/$1.so MIX_BUILD_PATH=$work/$1-mix
  mix compile >&2
  mix run --no-compile bench/pgo/workload.exs "$2" "$3"
}

build plain ""
build instrumented "-Cprofile-generate=$profiles"
echo "== profiling" >&2
LLVM_PROFILE_FILE=$profiles/%m-%p.profraw at_work instrumented 1 1 >&2
compgen -G "$profiles/*.profraw" >/dev/null || die "the workload has written no profile"
"$profdata" merge -o "$work/pgo.profdata" "$profiles"/*.profraw

# The profile must have counts for at least one function of each of these modules.
counted=$("$profdata" show --all-functions --counts "$work/pgo.profdata" |
  awk '/^  [^ ].*:$/ {name = $1} /Block counts|Function count/ && /[1-9]/ {print name}')
# In mangled names, each part has its length as a prefix.
for module in 3cdc 6engine 4hash 3nar6parser 3nar4dump 3nar7restore 5batch 4zstd 3lz4 2xz 5bzip2 4gzip 6brotli 7narinfo 5cache; do
  grep -q "7chunker.*$module" <<<"$counted" ||
    die "the profile has no counts of module ${module//[0-9]/ }: the workload did not reach it"
done
echo "== $(wc -l <<<"$counted") functions were counted" >&2

# rustc skips functions that have changed since the profile was taken, with a warning. The engine's LLVM IR,
# which rustc also emits here, has the entry count of each profiled function.
pgo="-Cprofile-use=$work/pgo.profdata"
rm -f "$work/pgo-target/$host/release/deps"/chunker-*.ll
build pgo "$pgo --emit=llvm-ir" 2> >(tee "$work/pgo.log" >&2)
if grep -E 'profile data may be|hash mismatch|no profile data' "$work/pgo.log"; then die "the profile does not fit the source"; fi
entered=$(cat "$work/pgo-target/$host/release/deps"/chunker-*.ll | grep -cE '"function_entry_count", i64 [1-9]' || true)
((entered > 0)) || die "rustc has not used the profile"
echo "== the engine was compiled with $entered counts of how often functions were entered" >&2
cp "$work/pgo.so" "$work/chunker_nif.so"
builds=(plain pgo)

if $bolt; then
  # BOLT needs symbols and relocations.
  export CARGO_PROFILE_RELEASE_STRIP=none
  build relocatable "$pgo -Clink-arg=-Wl,--emit-relocs"
  unset CARGO_PROFILE_RELEASE_STRIP
  echo "== profiling for BOLT" >&2
  "$llvm_bolt" "$work/relocatable.so" -instrument -instrumentation-file="$profiles/bolt.fdata" \
    -instrumentation-file-append-pid -o "$work/bolt-instrumented.so" >"$work/bolt.log" 2>&1 ||
    die "BOLT could not instrument the library; see $work/bolt.log"
  at_work bolt-instrumented 1 1 >&2
  "$(dirname "$llvm_bolt")/merge-fdata${llvm_bolt##*/llvm-bolt}" "$profiles"/bolt.fdata* >"$work/bolt.fdata"
  "$llvm_bolt" "$work/relocatable.so" -data "$work/bolt.fdata" -o "$work/bolt.so" -reorder-blocks=ext-tsp \
    -reorder-functions=cdsort -split-functions -split-all-cold -dyno-stats >>"$work/bolt.log" 2>&1 ||
    die "BOLT failed; see $work/bolt.log"
  # GNU strip does not support the layout that BOLT produces.
  "$strip" "$work/bolt.so"
  cp "$work/bolt.so" "$work/chunker_nif-bolt.so"
  builds+=(bolt)
fi

if $native; then
  build native "-Ctarget-cpu=native"
  builds+=(native)
fi

if ((rounds > 0)); then
  echo "== comparing, with other data than it was profiled with" >&2
  for name in "${builds[@]}"; do : >"$work/$name.tsv"; done
  for ((round = 1; round <= rounds; round++)); do
    for name in "${builds[@]}"; do at_work "$name" 2 1 >>"$work/$name.tsv"; done
  done
  files=("${builds[@]/#/$work/}")
  elixir bench/pgo/compare.exs "${files[@]/%/.tsv}"
fi

echo "Built with the profile: CHUNKER_NIF_PATH=$work/chunker_nif.so mix compile"
