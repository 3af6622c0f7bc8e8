defmodule Chunker.Nar.Entry do
  @moduledoc """
  A file, directory or symbolic link in a NAR.

    * `:path` - the names that lead to it from the root, with `/` between them; `""` is the root itself. It is bytes, which
      need not be text
    * `:type` - `:regular`, `:directory` or `:symlink`
    * `:size` - of a regular file, in bytes; else `nil`
    * `:offset` - where the contents of a regular file begin, in bytes from the start of the NAR; else `nil`
    * `:executable` - whether it is a regular file that is marked so
    * `:target` - where a symbolic link leads, as it stands there, in bytes; else `nil`
  """

  @enforce_keys [:path, :type]
  defstruct [:path, :type, :size, :offset, :target, executable: false]

  @type t :: %__MODULE__{
          path: binary(),
          type: :regular | :directory | :symlink,
          size: nil | non_neg_integer(),
          offset: nil | non_neg_integer(),
          executable: boolean(),
          target: nil | binary()
        }
end
