-- Wireshark dissector for sealcast. Install: copy into the personal Lua plugins folder, or
--   tshark -X lua_script:sealcast.lua -d udp.port==5000,sealcast -r capture.pcap
-- Datagrams are found by their first byte; "Decode As" forces it. Payloads stay sealed.

local sealcast = Proto("sealcast", "sealcast")

local f = sealcast.fields
f.kid = ProtoField.uint64("sealcast.kid", "Key id", base.HEX)
f.lane = ProtoField.uint8("sealcast.lane", "Lane")
f.channel = ProtoField.uint16("sealcast.channel", "Channel")
f.epoch_low = ProtoField.uint24("sealcast.epoch_low", "Epoch (low 24 bits)")
f.ctr = ProtoField.uint64("sealcast.ctr", "Packet number")
f.payload_len = ProtoField.uint32("sealcast.payload_len", "Payload length")
f.tag = ProtoField.bytes("sealcast.tag", "Tag")
f.type = ProtoField.uint8("sealcast.type", "Type", base.HEX, { [1] = "Notice", [2] = "LaneCertificate", [3] = "Manifest", [4] = "KeyBlock", [0x10] = "KeyRequest", [0x11] = "KeyReply", [0x12] = "Refusal" })
f.version = ProtoField.uint8("sealcast.version", "Version")
f.term = ProtoField.uint64("sealcast.term", "Term")
f.instance = ProtoField.uint64("sealcast.instance", "Term instance", base.HEX)
f.current = ProtoField.uint64("sealcast.current", "Current epoch")
f.next = ProtoField.uint64("sealcast.next", "Next epoch")
f.commitment = ProtoField.bytes("sealcast.commitment", "Commitment")
f.revision = ProtoField.uint32("sealcast.revision", "Revision")
f.remaining = ProtoField.uint32("sealcast.remaining", "Remaining (ms)")
f.group = ProtoField.uint64("sealcast.group", "Stripe group", base.HEX)
f.follows = ProtoField.uint64("sealcast.follows", "Follows group", base.HEX)
f.server = ProtoField.uint32("sealcast.server", "Delivery server")
f.server_key = ProtoField.bytes("sealcast.server_key", "Server's verifying key")
f.first_lane = ProtoField.uint8("sealcast.first_lane", "Lowest lane")
f.lanes = ProtoField.uint8("sealcast.lanes", "Lanes")
f.first_epoch = ProtoField.uint64("sealcast.first_epoch", "First epoch")
f.last_epoch = ProtoField.uint64("sealcast.last_epoch", "Last epoch")
f.auth = ProtoField.uint8("sealcast.auth", "Auth level", base.DEC, { [0] = "group", [1] = "manifest" })
f.count = ProtoField.uint8("sealcast.count", "Packets or nodes listed")
f.digest = ProtoField.bytes("sealcast.digest", "Packet digest")
f.place = ProtoField.uint8("sealcast.place", "Place among the lists")
f.lists = ProtoField.uint8("sealcast.lists", "Lists under the signature")
f.list = ProtoField.bytes("sealcast.list", "Digest of another list")
f.mac = ProtoField.bytes("sealcast.mac", "MAC")
f.epoch = ProtoField.uint64("sealcast.epoch", "Epoch")
f.generation = ProtoField.uint32("sealcast.generation", "Generation of the key tree")
f.height = ProtoField.uint8("sealcast.height", "Height of the key tree")
f.node = ProtoField.uint32("sealcast.node", "Node", base.HEX)
f.sealed_root = ProtoField.bytes("sealcast.sealed_root", "Sealed root")
f.signature = ProtoField.bytes("sealcast.signature", "Signature")

local function packet(buffer, tree, info)
  tree:add(f.kid, buffer(1, 6))
  tree:add(f.lane, buffer(1, 1))
  tree:add(f.channel, buffer(2, 2))
  tree:add(f.epoch_low, buffer(4, 3))
  tree:add(f.ctr, buffer(7, 5))
  tree:add(f.payload_len, buffer:len() - 28):set_generated()
  tree:add(f.tag, buffer(buffer:len() - 16, 16))
  info.cols.info = string.format("channel %d lane %d epoch ..%d, %d bytes", buffer(2, 2):uint(), buffer(1, 1):uint(), buffer(4, 3):uint(), buffer:len() - 28)
end

-- Reads fields one after the other.
local function reader(buffer, tree)
  local at = 2
  local function take(field, length)
    tree:add(field, buffer(at, length))
    at = at + length
  end
  local function optional(field, length)
    local there = buffer(at, 1):uint() == 1
    at = at + 1
    if there then take(field, length) end
  end
  return take, optional
end

local function notice(buffer, tree, info)
  local take, optional = reader(buffer, tree)
  take(f.channel, 2)
  take(f.term, 8)
  take(f.instance, 8)
  take(f.current, 8)
  take(f.next, 8)
  optional(f.commitment, 32)
  optional(f.commitment, 32)
  take(f.revision, 4)
  take(f.remaining, 4)
  take(f.signature, 64)
  info.cols.info = "Notice"
end

local function certificate(buffer, tree, info)
  local take, optional = reader(buffer, tree)
  take(f.channel, 2)
  take(f.term, 8)
  take(f.instance, 8)
  take(f.group, 8)
  optional(f.follows, 8)
  take(f.server, 4)
  take(f.server_key, 32)
  take(f.first_lane, 1)
  take(f.lanes, 1)
  take(f.first_epoch, 8)
  take(f.last_epoch, 8)
  take(f.auth, 1)
  take(f.signature, 64)
  info.cols.info = "LaneCertificate"
end

local function manifest(buffer, tree, info)
  tree:add(f.kid, buffer(2, 6))
  tree:add(f.lane, buffer(2, 1))
  tree:add(f.channel, buffer(3, 2))
  tree:add(f.epoch_low, buffer(5, 3))
  tree:add(f.ctr, buffer(8, 5))
  tree:add(f.count, buffer(13, 1))
  local at, count = 14, buffer(13, 1):uint()
  for _ = 1, count do
    tree:add(f.digest, buffer(at, 16))
    at = at + 16
  end
  tree:add(f.place, buffer(at, 1))
  tree:add(f.lists, buffer(at + 1, 1))
  local lists = buffer(at + 1, 1):uint()
  at = at + 2
  for _ = 2, lists do
    tree:add(f.list, buffer(at, 16))
    at = at + 16
  end
  tree:add(f.signature, buffer(at, 64))
  tree:add(f.mac, buffer(at + 64, 16))
  info.cols.info = string.format("Manifest, channel %d lane %d, %d packets", buffer(3, 2):uint(), buffer(2, 1):uint(), count)
end

local function key_block(buffer, tree, info)
  local take = reader(buffer, tree)
  take(f.channel, 2)
  take(f.term, 8)
  take(f.instance, 8)
  take(f.epoch, 8)
  take(f.commitment, 32)
  take(f.generation, 4)
  take(f.height, 1)
  local count = buffer(65, 2):uint()
  tree:add(f.count, buffer(66, 1))
  local at = 67
  for _ = 1, count do
    tree:add(f.node, buffer(at, 4))
    tree:add(f.sealed_root, buffer(at + 4, 32))
    at = at + 36
  end
  tree:add(f.signature, buffer(at, 64))
  info.cols.info = string.format("KeyBlock, channel %d epoch %s, %d nodes", buffer(2, 2):uint(), tostring(buffer(20, 8):uint64()), count)
end

local function is_ours(buffer)
  if buffer:len() < 2 then return false end
  local first = buffer(0, 1):uint()
  if first == 0xDC then return buffer:len() >= 28 and buffer(1, 1):uint() > 0 and buffer(7, 1):uint() > 0 end
  return ((first >= 1 and first <= 4) or (first >= 0x10 and first <= 0x12)) and buffer(1, 1):uint() == 1 and buffer:len() >= 30
end

function sealcast.dissector(buffer, info, root)
  if not is_ours(buffer) then return 0 end
  info.cols.protocol = "sealcast"
  local tree = root:add(sealcast, buffer())
  local first = buffer(0, 1):uint()
  if first == 0xDC then
    packet(buffer, tree, info)
  else
    tree:add(f.type, buffer(0, 1))
    tree:add(f.version, buffer(1, 1))
    if first == 1 then notice(buffer, tree, info)
    elseif first == 2 then certificate(buffer, tree, info)
    elseif first == 3 then manifest(buffer, tree, info)
    elseif first == 4 then key_block(buffer, tree, info) end
  end
  return buffer:len()
end

sealcast:register_heuristic("udp", function(buffer, info, root)
  if not is_ours(buffer) then return false end
  sealcast.dissector(buffer, info, root)
  return true
end)
DissectorTable.get("udp.port"):add_for_decode_as(sealcast)
