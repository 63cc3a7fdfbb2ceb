meta:
  id: keyring
  title: What a meta operation `keyring` carries
  endian: le
  imports: [octets, varint]
seq:
  - id: num_keys
    type: varint
  - id: keys
    type: key
    repeat: expr
    repeat-expr: num_keys.value
types:
  key:
    seq:
      - id: key_epoch
        type: u4
      - id: wrapped
        type: octets
