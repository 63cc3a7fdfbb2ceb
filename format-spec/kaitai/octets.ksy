meta:
  id: octets
  title: A varint length and as many octets
  imports: [varint]
seq:
  - id: len
    type: varint
  - id: data
    size: len.value
