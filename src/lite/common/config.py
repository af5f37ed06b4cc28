"""The configurations of the lite models, as they stand in the checkpoints' metadata."""
FRONT = {
    "img_size": 256, "patch_size": 16, "embed_dim": 96,
    "pe_depth": 6, "pe_num_heads": 3, "pe_mlp_ratio": 4, "pe_num_register_tokens": 1,
    "pe_norm_eps": 1e-6, "pe_pos_grid": 16,
    "agg_depth": 2, "agg_num_heads": 3, "agg_mlp_ratio": 4, "agg_num_register_tokens": 1,
    "agg_norm_eps": 1e-5, "rope_base": 10.0, "rope_head_dim": 32,
    "cam_trunk_depth": 1, "cam_num_heads": 3, "cam_mlp_ratio": 2, "cam_iterations": 1,
    "cam_target_dim": 9, "cam_norm_eps": 1e-5, "cam_adaln_eps": 1e-6,
    "dpt_features": 24, "dpt_out_channels": [24, 24, 24, 24], "dpt_layers": [0, 0, 1, 1],
    "dpt_head_channels": 8, "dpt_output_dim": 2, "dpt_norm_eps": 1e-5, "dpt_chunk": 8,
    "dpt_pos_ratio": 0.1, "dpt_pos_omega": 100.0}

STRIDE = 4  # of the tracker's features, model pixels
TRACKER = {
    "model": {"resolution": 196, "track_num": 192, "iters_track": 3, "Track_cfg": {"s_wind": 500, "overlap": 4, "base": {
        "window_len": 60, "stride": STRIDE, "corr_radius": 2, "neighbours": 2,
        "model_resolution": [192, 256]}}},
    "sizes": {"stages": [16, 32, 48, 64], "mixed": 64, "channels": 32, "corr_hidden": 96, "corr": 32,
              "xyz_hidden": 24, "width": 96, "depth": 1, "virtual": 16, "ratio": 2, "embed_hidden": 64}}

SAM = {
    "image_size": 144, "grid": 24, "patch_size": 6, "zoom": 1.4, "looks": 3,  # crops: sam/crop.py
    "mask_threshold": -0.25,  # the best on clips of the training
    "vision_hidden": 96, "vision_layers": 8, "vision_heads": 4, "vision_mlp": 384,
    "vision_window": 8, "vision_global_layers": [1, 3, 5, 7],
    "vision_out": 64, "decoder_hidden": 64, "pos_feats": 32, "decoder_heads": 4,
    "decoder_downsample": 2, "decoder_mlp": 256, "decoder_layers": 3, "decoder_mask_tokens": 4,
    "iou_hidden": 64, "iou_depth": 3}
